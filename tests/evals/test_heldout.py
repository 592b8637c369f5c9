import math

import jax
import numpy as np
import pytest

from mmjax.batch import Batch
from mmjax.evals import heldout
from mmjax.ops.cross_entropy import TokenLoss


def random_batch(rng: np.random.Generator) -> Batch:
    shape = (2, 3, 7)
    zero = np.zeros(shape, np.int32)
    return Batch(
        zero, zero, rng.random(shape) < 0.6, zero, zero, zero,
        rng.integers(0, 3, shape).astype(np.int32),
        np.zeros((2, 1, 4, 4, 3), np.uint8), np.zeros((2, 1), bool),
        np.zeros((2, 1, 0), np.int32),
    )  # fmt: skip


@jax.jit
def eval_step(params, batch: Batch) -> TokenLoss:
    """A loss that differs at every position, so that a misplaced one is noticed."""
    nll_ZRT = params * (1.0 + jax.numpy.arange(42.0).reshape(2, 3, 7))
    return TokenLoss(nll_ZRT, nll_ZRT, nll_ZRT > 0)


def test_sums_and_counts_equal_a_plain_loop_over_the_tokens():
    batches = [random_batch(np.random.default_rng(i)) for i in range(3)]
    found = heldout.evaluate(eval_step, 0.5, batches, ("a", "b", "c"))
    nll, tokens = [0.0] * 3, [0] * 3
    for batch in batches:
        for place in np.ndindex(2, 3, 7):
            if batch.loss_mask_ZRT[place]:
                source = batch.sources_ZRT[place]
                nll[source] += 0.5 * (1 + np.ravel_multi_index(place, (2, 3, 7)))
                tokens[source] += 1
    assert list(found) == ["a", "b", "c"]
    assert [f.tokens for f in found.values()] == tokens
    assert [f.nll for f in found.values()] == pytest.approx(nll, rel=1e-12)
    assert found["a"].loss == pytest.approx(nll[0] / tokens[0])
    assert found["a"].perplexity == pytest.approx(math.exp(nll[0] / tokens[0]))


def test_the_split_into_batches_does_not_change_the_result():
    batches = [random_batch(np.random.default_rng(i)) for i in range(4)]
    whole = heldout.evaluate(eval_step, 0.5, batches, ("a", "b", "c"))
    halves = [
        heldout.evaluate(eval_step, 0.5, part, ("a", "b", "c"))
        for part in (batches[:1], batches[1:])
    ]
    for name, loss in whole.items():
        assert loss.tokens == sum(half[name].tokens for half in halves)
        assert loss.nll == pytest.approx(sum(half[name].nll for half in halves))


def test_a_source_without_documents_has_no_loss_but_is_listed():
    found = heldout.evaluate(eval_step, 0.5, [], ("a",))
    assert found["a"].tokens == 0
    assert math.isnan(found["a"].loss)


def test_an_infinite_looking_perplexity_does_not_overflow():
    assert math.isfinite(heldout.SourceLoss(1e6, 1).perplexity)

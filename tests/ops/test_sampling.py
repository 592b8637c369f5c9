"""Tokens are drawn as their probabilities say, from exactly those that are allowed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mmjax.ops import sampling
from mmjax.ops.sampling import Choice

LOGITS = np.log(np.array([0.3, 0.05, 0.25, 0.02, 0.18, 0.2], np.float32))
DRAWS = 4000


pytestmark = pytest.mark.usefixtures("quick_compilation")


@functools.partial(jax.jit, static_argnums=4)
def _drawn(logits_V, temperature, top_k, top_p, kind):
    rows = (1, DRAWS)
    how = Choice(
        jnp.full(rows, temperature), jnp.full(rows, top_k), jnp.full(rows, top_p),
        jnp.arange(DRAWS, dtype=jnp.uint32)[None],
    )  # fmt: skip
    logits = jnp.broadcast_to(logits_V, (*rows, logits_V.shape[0]))
    return sampling.choose(logits, how, jnp.int32(3), kind)[0]


def drawn(temperature=1.0, top_k=0, top_p=1.0, kind="cut") -> np.ndarray:
    """How often each token is drawn, by as many seeds as draws."""
    arguments = np.float32(temperature), np.int32(top_k), np.float32(top_p)
    found = np.asarray(_drawn(jnp.asarray(LOGITS), *arguments, kind))
    return np.bincount(found, minlength=len(LOGITS))


def by_hand(temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """The probabilities of the tokens that are left, summed in a loop."""
    share = np.exp(LOGITS.astype(float) / temperature)
    share /= share.sum()
    order = sorted(range(len(share)), key=lambda i: (-share[i], i))
    order = order[: top_k or len(share)]
    total = sum(share[i] for i in order)
    left, so_far = [], 0.0
    for token in order:
        if so_far >= top_p:
            break
        left.append(token)
        so_far += share[token] / total
    found = np.zeros(len(share))
    found[left] = share[left] / share[left].sum()
    return found


CHOICES = [
    (1.0, 0, 1.0), (0.5, 0, 1.0), (2.0, 0, 1.0), (1.0, 3, 1.0), (1.0, 1, 1.0),
    (1.0, 0, 0.74), (1.0, 0, 0.76), (1.0, 0, 1e-6), (0.7, 4, 0.8), (1.0, 99, 0.999),
]  # fmt: skip


@pytest.mark.parametrize("choice", CHOICES)
def test_draws_follow_the_distribution_that_is_left(choice):
    counts, share = drawn(*choice), by_hand(*choice)
    assert not counts[share == 0].any()
    left = share > 0
    if left.sum() > 1:
        expected = DRAWS * share[left]
        assert scipy.stats.chisquare(counts[left], expected).pvalue > 0.001
    else:
        assert counts[left] == DRAWS


def test_a_wrong_distribution_would_be_noticed():
    counts, share = drawn(1.25), by_hand(1.0, 0, 1.0)
    assert scipy.stats.chisquare(counts, DRAWS * share).pvalue < 0.001


def test_the_cheaper_way_draws_the_same_tokens():
    np.testing.assert_array_equal(drawn(0.7, kind="sampled"), drawn(0.7, kind="cut"))
    only_best = np.eye(len(LOGITS), dtype=int)[0] * DRAWS
    for kind in sampling.KINDS:
        np.testing.assert_array_equal(drawn(0.0, kind=kind), only_best)


def test_of_equally_likely_tokens_those_of_lower_ids_are_kept():
    logits = jnp.array([1.0, 2.0, 1.0, 1.0])
    kept = [
        np.flatnonzero(sampling.cut(logits, jnp.int32(k), jnp.float32(p))).tolist()
        for k, p in ((1, 1.0), (2, 1.0), (3, 1.0), (0, 0.6))
    ]
    assert kept == [[1], [0, 1], [0, 1, 2], [0, 1]]


def test_each_token_of_a_row_has_its_own_noise():
    how = Choice(
        jnp.ones((1, 1)), jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1)),
        jnp.zeros((1, 1), jnp.uint32),
    )  # fmt: skip
    logits = jnp.zeros((1, 1, 64))
    found = {
        int(sampling.choose(logits, how, jnp.int32(n), "sampled")[0, 0])
        for n in range(8)
    }
    assert len(found) > 4

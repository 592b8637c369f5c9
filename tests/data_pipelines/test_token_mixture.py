"""Tests of mixing by loss tokens: shares kept to within one row at every prefix."""

import fractions
import json
import pickle

import numpy as np
import pytest

from data_pipelines.token_mixture import BLOCK, TokenMixture
from mmjax.config import WeightChange


class Lengths:
    """Loss tokens of the rows of a source, of which some may have none."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        mean = rng.choice([60, 600, 1500, 3900])
        spread = rng.choice([0.02, 0.2, 0.6])
        drawn = rng.normal(mean, mean * spread, 20_000)
        self.tokens = np.clip(drawn, 0, 4096).astype(np.int64)

    def __call__(self, start, stop):
        return self.tokens[np.arange(start, stop) % len(self.tokens)]


def deviations(mixture, weights, changes, lengths, rows):
    """Exact |got - share| / most of each prefix, by fractions."""
    got = [0] * len(weights)
    share = [fractions.Fraction(0)] * len(weights)
    taken, worst, most = [0] * len(weights), [], 0
    changes = dict(changes)
    for row, source in enumerate(mixture.sources(0, rows).tolist()):
        weights = changes.get(row, weights)
        k = taken[source]
        tokens = int(lengths[source](k, k + 1)[0])
        taken[source] += 1
        got[source] += tokens
        most = max(most, tokens)
        for s, weight in enumerate(weights):
            share[s] += fractions.Fraction(weight * tokens, sum(weights))
        worst.append(max(abs(g - e) for g, e in zip(got, share)))
    return worst, max(int(length.tokens.max()) for length in lengths)


def random_weights(rng, sources):
    weights = rng.integers(0, 100, sources)
    weights[rng.integers(sources)] += 1
    return tuple(weights.tolist())


@pytest.mark.parametrize("seed", range(10))
def test_every_prefix_is_within_one_row_of_loss_tokens(seed):
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, 2 + seed % 5)
    lengths = [Lengths(100 * seed + s) for s in range(len(weights))]
    mixture = TokenMixture(weights, lengths)
    worst, most = deviations(mixture, weights, [], lengths, 1500)
    assert max(worst) < most


@pytest.mark.parametrize("seed", range(10))
def test_every_prefix_is_within_one_row_of_loss_tokens_across_changes(seed):
    rng = np.random.default_rng(50 + seed)
    sources = 2 + seed % 5
    weights = random_weights(rng, sources)
    lengths = [Lengths(100 * seed + s) for s in range(sources)]
    steps = np.unique(rng.integers(1, 200, 5)).tolist()
    changes = [WeightChange(step, random_weights(rng, sources)) for step in steps]
    mixture = TokenMixture(weights, lengths, changes, rows_per_batch=7)
    parts = [(7 * change.step, change.weights) for change in changes]
    worst, most = deviations(mixture, weights, parts, lengths, 1500)
    assert max(worst) < most


def test_sources_of_weight_zero_have_no_rows():
    mixture = TokenMixture((3, 0, 1), [Lengths(1), None, Lengths(2)])
    assert set(mixture.sources(0, 400).tolist()) == {0, 2}


def test_counts_are_those_of_the_sources():
    mixture = TokenMixture((3, 5), [Lengths(1), Lengths(2)])
    sources = mixture.sources(0, 2 * BLOCK + 100)
    for row in (0, 1, 77, BLOCK, BLOCK + 1, 2 * BLOCK + 99):
        expected = np.bincount(sources[:row], minlength=2)
        assert mixture.counts(row).tolist() == expected.tolist()
    again = TokenMixture((3, 5), [Lengths(1), Lengths(2)])
    assert (
        again.sources(BLOCK + 5, BLOCK + 50) == sources[BLOCK + 5 : BLOCK + 50]
    ).all()


@pytest.mark.parametrize("row", [0, 5, BLOCK, BLOCK + 123])
def test_a_run_goes_on_from_a_state_as_if_it_had_never_stopped(row):
    lengths = [Lengths(1), Lengths(2), Lengths(3)]
    changes = [WeightChange(600, (1, 1, 7))]
    mixture = TokenMixture((3, 5, 2), lengths, changes, rows_per_batch=8)
    state = json.loads(json.dumps(mixture.state_at(row)))
    rest = TokenMixture((3, 5, 2), lengths, changes, 8, state)
    stop = row + BLOCK + 50
    assert (rest.sources(row, stop) == mixture.sources(row, stop)).all()
    assert rest.counts(stop).tolist() == mixture.counts(stop).tolist()
    # With another change behind it, the exact shares so far are carried over.
    later = TokenMixture(
        (3, 5, 2), lengths, [*changes, WeightChange(900, (1, 2, 4))], 8, state
    )
    assert (later.sources(row, 7200 if row < 7200 else row)
            == mixture.sources(row, 7200 if row < 7200 else row)).all()  # fmt: skip
    if row:
        with pytest.raises(ValueError, match="known are the rows from"):
            rest.sources(row - 1, row)


def test_a_pickled_mixture_is_the_same():
    mixture = TokenMixture((3, 5), [Lengths(1), Lengths(2)])
    copy = pickle.loads(pickle.dumps(mixture))
    assert (copy.sources(0, 500) == mixture.sources(0, 500)).all()

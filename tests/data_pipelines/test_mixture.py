"""Tests of the mixture: weights kept to within one row at every prefix."""

import fractions
import pickle

import numpy as np
import pytest

from data_pipelines.mixture import Mixture
from mmjax.config import WeightChange


def exact_shares(weights, changes, rows):
    """exact[g, s] of every prefix g, as fractions; changes are (row, weights)."""
    total = [fractions.Fraction(0)] * len(weights)
    exact = [list(total)]
    changes = dict(changes)
    for row in range(rows):
        weights = changes.get(row, weights)
        for source, weight in enumerate(weights):
            total[source] += fractions.Fraction(weight, sum(weights))
        exact.append(list(total))
    return exact


def largest_deviation(mixture, exact):
    sources = mixture.sources(0, len(exact) - 1)
    counts = [0] * len(exact[0])
    worst = fractions.Fraction(0)
    for row, source in enumerate(sources.tolist()):
        counts[source] += 1
        worst = max(worst, *(abs(c - e) for c, e in zip(counts, exact[row + 1])))
    return worst


def random_weights(rng, sources):
    weights = rng.integers(0, rng.choice([3, 12, 60, 300]), sources)
    weights[rng.integers(sources)] += 1
    return tuple(weights.tolist())


@pytest.mark.parametrize("seed", range(20))
def test_every_prefix_is_within_one_row_of_its_weights(seed):
    weights = random_weights(np.random.default_rng(seed), 2 + seed % 5)
    exact = exact_shares(weights, [], 1500)
    assert largest_deviation(Mixture(weights), exact) < 1


@pytest.mark.parametrize("seed", range(20))
def test_every_prefix_is_within_one_row_across_changes_of_weights(seed):
    rng = np.random.default_rng(100 + seed)
    weights = random_weights(rng, 2 + seed % 5)
    steps = np.unique(rng.integers(1, 100, rng.integers(1, 8))).tolist()
    changes = []
    for step in steps:
        values = rng.permutation(rng.integers(0, 50, len(weights)) ** 2 // 40)
        values[rng.integers(len(weights))] += 1
        changes.append(WeightChange(step, tuple(values.tolist())))
    mixture = Mixture(weights, changes, rows_per_batch=7)
    exact = exact_shares(weights, [(c.step * 7, c.weights) for c in changes], 1000)
    assert largest_deviation(mixture, exact) < 1


def test_a_source_of_weight_0_gets_no_row():
    mixture = Mixture((3, 0, 5))
    assert set(mixture.sources(0, 1000).tolist()) == {0, 2}


def test_a_source_whose_weight_becomes_0_gets_at_most_the_row_it_had_begun_to_earn():
    for step in range(1, 40):
        mixture = Mixture((5, 3, 4, 1), [WeightChange(step, (0, 0, 1, 1))])
        later = mixture.sources(step, 1000)
        assert (later == 0).sum() <= 1
        assert (later == 1).sum() <= 1


@pytest.mark.parametrize("rows_per_batch", [1, 64])
def test_locate_counts_and_sources_agree(rows_per_batch):
    changes = [WeightChange(5, (1, 1, 0)), WeightChange(11, (7, 0, 9))]
    mixture = Mixture((45, 45, 10), changes, rows_per_batch)
    rows = 1000
    sources = mixture.sources(0, rows)
    seen = np.zeros(3, np.int64)
    for row, source in enumerate(sources.tolist()):
        np.testing.assert_array_equal(mixture.counts(row), seen)
        assert mixture.locate(row) == (source, seen[source])
        seen[source] += 1
    np.testing.assert_array_equal(mixture.sources(333, 777), sources[333:777])


def test_a_change_far_away_is_the_same_as_one_simulated_row_by_row():
    """Rows near a change are found by skipping whole periods, not by another rule."""
    near, far = 200, 200 + 20 * 10**7
    changes = [[WeightChange(row, (1, 2, 4))] for row in (near, far)]
    one, other = (Mixture((45, 45, 10), change) for change in changes)
    np.testing.assert_array_equal(
        one.sources(near - 100, near + 100), other.sources(far - 100, far + 100)
    )


def test_lookups_reach_row_1e9():
    mixture = Mixture((45, 45, 10))
    source, k = mixture.locate(10**9 + 7)
    counts = mixture.counts(10**9 + 7)
    assert counts.sum() == 10**9 + 7
    assert counts[source] == k
    assert np.abs(counts - (10**9 + 7) * np.array([0.45, 0.45, 0.1])).max() < 1
    assert mixture.sources(10**9, 10**9 + 20).tolist().count(2) == 2


def test_a_pickled_mixture_is_the_same():
    mixture = Mixture((2, 3), [WeightChange(4, (1, 1))], 8)
    copy = pickle.loads(pickle.dumps(mixture))
    np.testing.assert_array_equal(copy.sources(0, 100), mixture.sources(0, 100))


@pytest.mark.parametrize("seed", range(20))
def test_a_change_alters_no_row_further_before_it_than_the_reach(seed):
    """So a change can be added to a run that has gone on nearly as far as that."""
    rng = np.random.default_rng(200 + seed)
    lists = [random_weights(np.random.default_rng(seed), 2 + seed % 5)] * 2
    zeros = np.eye(len(lists[0]), dtype=int)[rng.integers(len(lists[0]))]
    changes = [
        WeightChange(60, tuple(zeros.tolist())),
        WeightChange(71, lists[1][::-1]),
    ]
    fewer, more = Mixture(lists[0], changes[:1], 9), Mixture(lists[0], changes, 9)
    stop = 71 * 9 - more.reach
    np.testing.assert_array_equal(fewer.sources(0, stop), more.sources(0, stop))

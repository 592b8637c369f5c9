"""Tests of mixing by documents: exact ratios, whole epochs, rows of several sources."""

import bisect
import collections
import concurrent.futures
import json
import pickle

import numpy as np
import plan_samples
import pytest

from data_pipelines.chunks import Layout
from data_pipelines.index_columns import STATS
from data_pipelines.merged import MergedPlan
from data_pipelines.plan import SourcePlan
from mmjax.config import WeightChange

LAYOUT = Layout(row_tokens=64, max_images=6, window=40, seed=3)
SIZES = (300, 120, 70)


def plans(layout=LAYOUT, unused=()):
    kinds = ((12, 1), (70, 2), (30, 0))
    return [
        None
        if source in unused
        else SourcePlan(f"s{source}", plan_samples.sample(size, *kind), layout)
        for source, (size, kind) in enumerate(zip(SIZES, kinds))
    ]


def parts_of(plan, rows):
    """(source, chunk) of all chunks of the first rows."""
    found = (plan.row(k) for k in range(rows))
    return [part for sources, row in found for part in zip(sources, row.chunks)]


@pytest.mark.parametrize("seed", range(10))
def test_every_prefix_is_within_one_window_of_its_weights(seed):
    rng = np.random.default_rng(seed)
    weights = tuple(np.add(rng.integers(0, 40, 3), (0, 1, 0)).tolist())
    plan = MergedPlan(plans(), weights)
    for k in range(0, 400, 7):
        documents = plan.sums_before(k)[:, STATS.index("documents")]
        exact = documents.sum() * np.array(weights) / sum(weights)
        assert np.abs(documents - exact).max() <= LAYOUT.window
    documents = plan.sums_before(400)[:, STATS.index("documents")]
    assert documents[np.array(weights) == 0].sum() == 0


KINDS = (
    (300, 12, 1),
    (120, 70, 2),
    (70, 30, 0),
    (200, 20, 0),
    (150, 40, 1),
    (90, 25, 3),
)


@pytest.fixture(scope="module")
def six():
    """Plans of six sources."""
    drawn = (plan_samples.sample(*kind) for kind in KINDS)
    return [SourcePlan(f"s{n}", kind, LAYOUT) for n, kind in enumerate(drawn)]


def random_weights(rng, sources):
    weights = rng.integers(0, 40, sources)
    weights[rng.integers(sources)] += 1
    return tuple(weights.tolist())


@pytest.mark.parametrize("sources", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("seed", range(10))
def test_across_changes_every_prefix_is_within_one_window(six, sources, seed):
    rng = np.random.default_rng(100 * sources + seed)
    steps = np.unique(rng.integers(1, 30, 5)).tolist()
    lists = [random_weights(rng, sources) for _ in (0, *steps)]
    changes = [WeightChange(*change) for change in zip(steps, lists[1:])]
    plan = MergedPlan(six[:sources], lists[0], changes, rows_per_batch=6)
    starts = [0, *(6 * step for step in steps)]
    exact = last = np.zeros(sources)
    for k in range(250):
        weights = lists[bisect.bisect_right(starts, k) - 1]
        now = plan.sums_before(k + 1)[:, STATS.index("documents")]
        exact = exact + (now - last).sum() * np.array(weights) / sum(weights)
        assert np.abs(now - exact).max() <= LAYOUT.window
        last = now


def test_what_changes_left_behind_is_made_good(six):
    """Each change to (9, 1) comes a row after a window began, and back at an end."""
    changes, row = [], 0
    for _ in range(5):
        row = window_from(six, changes, row)
        changes.append(WeightChange(row + 1, (9, 1)))
        row = window_from(six, changes, window_from(six, changes, row + 1) + 1)
        changes.append(WeightChange(row, (1, 9)))
    plan = MergedPlan(six[:2], (1, 9), changes)
    steps = [change.step for change in changes]
    exact = 0
    for k in range(row + 40):
        now, then = (plan.sums_before(n)[:, 0] for n in (k, k + 1))
        share = 0.9 if bisect.bisect_right(steps, k) % 2 else 0.1
        exact += (then - now).sum() * share
        assert abs(then[0] - exact) <= LAYOUT.window


def window_from(six, changes, row):
    """The first row from this one on with which a window begins."""
    plan = MergedPlan(six[:2], (1, 9), changes)
    return next(k for k in range(row, 9999) if plan.known(k)[1] == k)


def test_each_source_is_gone_through_whole_before_it_begins_again():
    plan = MergedPlan(plans(), (1, 1, 1))
    taken = [[], [], []]
    for source, chunk in parts_of(plan, 900):
        if chunk.start == 0:
            taken[source].append(chunk.document)
    for size, found in zip(SIZES, taken):
        # Windows pack their documents in another order than they are drawn in.
        counts = collections.Counter(found)
        assert set(counts) == set(range(size))
        assert max(counts.values()) - min(counts.values()) <= 1 + 2 * (size < 80)
        assert len(found) > 2 * size or size == 300


def test_no_position_is_lost_and_no_row_exceeds_its_limits():
    plan = MergedPlan(plans(), (3, 2, 1))
    seen = collections.defaultdict(list)
    end = next(k for k in range(1, 999) if plan.known(k)[0] == 3)  # of three windows
    for k in range(end):
        sources, row = plan.row(k)
        assert row.positions == sum(c.stop - c.start for c in row.chunks)
        assert row.positions <= LAYOUT.row_tokens
        assert row.slots <= LAYOUT.max_images
        for source, chunk in zip(sources, row.chunks):
            seen[source, chunk.document] += range(chunk.start, chunk.stop)
    assert len(seen) == 3 * LAYOUT.window
    for (source, number), positions in seen.items():
        totals = plan.plans[source].documents.totals
        assert sorted(positions) == list(range(totals["positions"][number]))


def test_sums_are_those_of_the_rows():
    plan = MergedPlan(plans(), (3, 2, 1))
    stats = plan.row_stats(5, 120)
    sums = plan.sums_before(120) - plan.sums_before(5)
    assert stats.sum(axis=0).tolist() == sums.sum(axis=0).tolist()
    assert plan.row_images(5, 120).tolist() == stats[:, STATS.index("slots")].tolist()
    documents = collections.Counter(
        source
        for k in range(5, 120)
        for source, chunk in zip(plan.row(k)[0], plan.row(k)[1].chunks)
        if chunk.start == 0
    )
    assert [documents[s] for s in range(3)] == sums[
        :, STATS.index("documents")
    ].tolist()
    np.testing.assert_allclose(plan.epochs(120) * SIZES, plan.sums_before(120)[:, 0])


@pytest.mark.parametrize("k", [0, 3, 60, 200])
def test_a_run_goes_on_from_what_is_known(k):
    changes = [WeightChange(12, (1, 1, 5))]
    plan = MergedPlan(plans(), (3, 2, 1), changes, 8)
    known = json.loads(json.dumps(plan.known(k)))
    rest = MergedPlan(plans(), (3, 2, 1), changes, 8, known)
    assert rest.digest == plan.digest
    for row in range(k, k + 60):
        assert rest.row(row) == plan.row(row)
        assert (rest.sums_before(row) == plan.sums_before(row)).all()


def test_a_source_without_weight_need_not_exist():
    plan = MergedPlan(plans(unused=(1,)), (3, 0, 1))
    assert {source for source, _ in parts_of(plan, 50)} == {0, 2}
    copy = pickle.loads(pickle.dumps(plan))
    assert [copy.row(k) for k in range(50)] == [plan.row(k) for k in range(50)]


def test_threads_that_ask_together_get_the_same_rows():
    alone, shared = (MergedPlan(plans(), (3, 2, 1)) for _ in range(2))
    asked = list(range(0, 900, 9))[::-1] * 4
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared.row, asked))
    assert found == [alone.row(k) for k in asked]

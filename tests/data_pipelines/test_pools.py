"""Tests of the global plan: batches of a step, their counts, capacity, and ends."""

import collections
import dataclasses
import json
import pickle

import numpy as np
import plan_samples
import pytest
from plan_samples import make, make_config

from data_pipelines import blocks, plan, pools
from data_pipelines.index_columns import STATS
from data_pipelines.mixture import Mixture
from data_pipelines.plan import SourcePlan
from mmjax import config as config_lib
from mmjax.config import UNITS, Config, WeightChange


def flat(batch):
    return [row for group in batch for row in group]


def test_batches_are_a_pure_function_of_the_step():
    one, other = make(), make()
    forward = [one.rows_of(step) for step in range(20)]
    assert [other.rows_of(step) for step in reversed(range(20))] == forward[::-1]
    copy = pickle.loads(pickle.dumps(one))
    assert copy.rows_of(13) == forward[13]
    assert copy.group(13, 1) == forward[13][1]


def test_a_longer_run_has_the_same_batches():
    short, long = make(make_config(steps=5)), make(make_config(steps=40))
    assert short.rows_of(4) == long.rows_of(4)
    assert short.digest == long.digest


def test_a_batch_is_z_groups_of_r_rows_and_sources_stand_where_the_mixture_has_them():
    planned = make()
    mixture = Mixture((45, 45, 10))
    for step in range(20):
        batch = planned.rows_of(step)
        assert [len(group) for group in batch] == [4, 4, 4]
        sources = [row.source for row in flat(batch)]
        assert sources == mixture.sources(step * 12, step * 12 + 12).tolist()


def test_whole_blocks_hold_each_row_of_each_source_once():
    planned = make()
    delivered = collections.defaultdict(list)
    for step in range(18):
        for source, row, _ in flat(planned.rows_of(step)):
            delivered[source].append(row)
    for source, own in enumerate(planned.sources):
        count = int(planned.counts(18)["rows"][source])
        assert own is not None
        assert sorted(delivered[source]) == sorted(own.row(k) for k in range(count))


def test_no_group_needs_more_slots_than_the_capacity():
    planned = make()
    needs = [
        sum(row.slots for _, row, _ in group)
        for step in range(20)
        for group in planned.rows_of(step)
    ]
    assert planned.capacity - 4 < max(needs) <= planned.capacity
    assert planned.capacity % 4 == 0


def test_counts_are_the_sums_of_step_counts_and_of_the_rows():
    schedule = (WeightChange(7, (1, 2, 3)), WeightChange(12, (1, 0, 1)))
    planned = make(make_config(schedule=schedule))
    total = {name: np.zeros(3) for name in ("rows", *STATS, "epochs")}
    for step in range(20):
        counts = planned.counts(step)
        assert counts.keys() == total.keys()
        for name, value in counts.items():
            np.testing.assert_allclose(value, total[name], atol=1e-9, err_msg=name)
        rows = flat(planned.rows_of(step))
        of_step = planned.step_counts(step)
        for name, value in of_step.items():
            total[name] += value
        for name in ("positions", "slots"):
            of_rows = [getattr(row, name) for _, row, _ in rows]
            sources = [source for source, *_ in rows]
            assert of_step[name].tolist() == np.bincount(sources, of_rows, 3).tolist()


def test_the_delivered_rows_are_those_of_the_weights():
    planned = make(make_config(steps=100))
    for steps in (1, 7, 50, 100):
        exact = steps * 12 * np.array([0.45, 0.45, 0.1])
        assert np.abs(planned.counts(steps)["rows"] - exact).max() < 1


def test_fill_counts_real_images_and_used_positions():
    planned = make()
    fill = planned.fill(3)
    rows = flat(planned.rows_of(3))
    assert fill.images == sum(row.slots for _, row, _ in rows)
    assert fill.used == sum(row.positions for _, row, _ in rows)
    assert (fill.slots, fill.positions) == (3 * planned.capacity, 12 * 64)


def test_a_capacity_that_is_too_small_is_an_error_that_names_one_that_is_enough():
    base = make(make_config(max_images_per_row=8))
    assert base.capacity == 16
    with pytest.raises(ValueError, match=r"data.pool_capacity=8: .* set it to 16"):
        make(make_config(max_images_per_row=8, pool_capacity=8))
    explicit = make(make_config(max_images_per_row=8, pool_capacity=20))
    assert explicit.capacity == 20
    assert explicit.rows_of(9) == base.rows_of(9)


def test_a_block_beyond_the_planned_run_that_does_not_fit_is_an_error():
    planned = make(make_config(steps=6))
    planned.capacity = 4
    with pytest.raises(ValueError, match=r"data.pool_capacity=4: block 5 .* set it to"):
        planned.rows_of(30)


def test_a_source_that_is_never_used_need_not_exist():
    config = make_config(weights=(3, 0, 1))
    assert pools.used_sources(config) == (True, False, True)
    planned = make(config)
    assert planned.sources[1] is None
    assert planned.counts(20)["rows"].tolist() == [180, 0, 60]
    assert planned.counts(20)["epochs"][1] == 0
    config.mixture.schedule = (WeightChange(5, (1, 1, 1)),)
    assert pools.used_sources(config) == (True, True, True)


@pytest.mark.parametrize(("weights", "free"), [((45, 45, 10), 13), ((30, 5, 1), 15)])
def test_a_change_of_weights_added_in_time_leaves_earlier_batches_as_they_were(
    weights, free
):
    """Block 1 is steps 6 to 11; 10 or 36 rows before a change depend on it."""
    base = make(make_config(weights=weights))
    assert base.changeable_from(0) == 0
    assert base.changeable_from(7) == base.changeable_from(12) == free
    later = make_config(weights=weights, schedule=(WeightChange(free, (0, 1, 1)),))
    changed = make(later)
    for step in range(12):
        assert changed.rows_of(step) == base.rows_of(step)
    assert changed.digest == base.digest
    assert changed.step_counts(free)["rows"][0] <= 1


def test_the_digest_changes_with_the_data():
    base = make()
    for other in (
        make(seed=1),
        make(make_config(weights=(1, 1, 1))),
        make(make_config(rows_per_batch=24)),
        make(make_config(seed=1)),
    ):
        assert other.digest != base.digest


def test_a_mixture_without_images_has_the_smallest_pool():
    planned = make(make_config(weights=(0, 0, 1)))
    assert planned.capacity == 4
    assert planned.fill(0).images == 0


@pytest.mark.parametrize("limit", [0, 30])
def test_a_finite_plan_holds_each_row_of_epoch_0_once_and_empty_rows(limit):
    planned = make(finite=True, limit=limit)
    rows = [row for step in range(planned.steps) for row in flat(planned.rows_of(step))]
    counts = [min(own.rows(0), limit or 10**9) for own in planned.sources]
    for source, own in enumerate(planned.sources):
        held = [row for s, row, _ in rows if s == source and row.chunks]
        assert sorted(held) == sorted(own.row(k) for k in range(counts[source]))
    empty = [row for _, row, _ in rows if not row.chunks]
    assert len(empty) == -sum(counts) % 12
    total = planned.counts(planned.steps)
    assert total["rows"].tolist() == counts
    if not limit:
        assert total["documents"].tolist() == [600, 200, 90]
        assert total["epochs"].tolist() == [1, 1, 1]


def test_a_finite_plan_spreads_its_sources_and_has_its_own_capacity():
    planned = make(make_config(pool_capacity=64), finite=True)
    assert planned.capacity % 4 == 0
    assert planned.capacity != 64
    half = planned.counts(planned.steps // 2)["rows"]
    whole = planned.counts(planned.steps)["rows"]
    assert np.abs(half / whole - 0.5).max() < 0.1
    with pytest.raises(ValueError, match=f"has batches 0 to {planned.steps - 1}"):
        planned.rows_of(planned.steps)


def test_pools_of_mm1_statistics_are_nearly_full():
    """Captions of 24 tokens, interleaved of 611 and 2.6 images, texts of 846."""
    config = Config(steps=64)
    config = dataclasses.replace(config, data=config_lib.Data(rows_per_batch=128))
    layout = plan.layout(config)
    statistics = {"captions": (100_000, 24, 1), "interleaved": (20_000, 611, 2.61)}
    statistics["text"] = (5_000, 846, 0)
    sources = [
        SourcePlan(name, plan_samples.sample(*kind, image_tokens=144), layout)
        for name, kind in statistics.items()
    ]
    planned = pools.GlobalPlan(config, sources)
    counts = planned.counts(64)
    assert counts["slots"].sum() / (64 * 8 * planned.capacity) > 0.94
    assert (counts["positions"] / counts["rows"] / 4096 > 0.97).all()


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("step", [0, 5, 13, 19])
def test_a_plan_goes_on_from_what_a_checkpoint_knows_without_packing(
    unit, step, monkeypatch
):
    config = make_config()
    config.mixture.unit = unit
    whole = make(config)
    known = json.loads(json.dumps(whole.known(step)))
    monkeypatch.setattr(blocks.Blocks, "need", None)  # the capacity is known
    rest = make(config, known=known)
    assert (rest.capacity, rest.digest) == (whole.capacity, whole.digest)
    for number in range(step, 20):
        assert rest.rows_of(number) == whole.rows_of(number)
        for what, values in rest.step_counts(number).items():
            assert np.allclose(values, whole.step_counts(number)[what]), what


def test_resuming_in_a_late_epoch_packs_no_earlier_one(monkeypatch):
    config = make_config(steps=400)
    whole = make(config)
    known = whole.known(390)
    packed = []
    measure = SourcePlan._measure

    def watched(self, epoch):
        packed.append((self.name, epoch))
        return measure(self, epoch)

    monkeypatch.setattr(SourcePlan, "_measure", watched)
    rest = make(config, known=known)
    assert rest.rows_of(395) == whole.rows_of(395)
    first = {name: len(epochs[1]) for name, epochs in known["epochs"].items()}
    assert min(first.values()) > 1
    assert all(epoch >= first[name] for name, epoch in packed)


def test_what_is_known_of_other_data_is_not_believed():
    config = make_config()
    known = make(config, seed=1).known(13)
    known["planned"] = None
    assert make(config, known=known).rows_of(13) == make(config).rows_of(13)


def test_a_longer_run_keeps_a_capacity_that_is_enough():
    known = make(make_config(steps=20)).known(13)
    rest = make(make_config(steps=60), known=known)
    assert rest.capacity >= known["capacity"]
    assert rest.capacity >= make(make_config(steps=60)).capacity


def test_loss_tokens_are_shared_by_weight():
    config = make_config(steps=60)
    config.mixture.unit = "loss_token"
    planned = make(config)
    tokens = planned.counts(60)["loss_tokens"]
    shares = tokens / tokens.sum()
    np.testing.assert_allclose(shares, [0.45, 0.45, 0.1], atol=64 / tokens.sum())
    assert planned.digest != make(make_config(steps=60)).digest


def test_the_need_of_a_plan_is_found_once(tmp_path, monkeypatch):
    first = make(cache_dir=tmp_path)
    monkeypatch.setattr(blocks.Blocks, "need", None)
    again = make(cache_dir=tmp_path)
    assert (again.capacity, again.note) == (first.capacity, first.note)


def test_documents_are_shared_by_weight():
    config = make_config(steps=60, weights=(3, 2, 1))
    config.mixture.unit = "document"
    planned = make(config)
    counts = planned.counts(60)
    exact = counts["documents"].sum() * np.array([3, 2, 1]) / 6
    assert np.abs(counts["documents"] - exact).max() <= config.data.pack_window
    assert counts["rows"].sum() == 60 * 12
    sources = {s for row in flat(planned.rows_of(3)) for s in row.of_chunks()}
    assert sources == {0, 1, 2}
    assert planned.digest != make(make_config(steps=60, weights=(3, 2, 1))).digest


def test_counts_of_mixed_rows_are_the_sums_of_step_counts():
    config = make_config()
    config.mixture.unit = "document"
    planned = make(config)
    for steps in (1, 6, 17):
        total = planned.counts(steps)
        for name in STATS:
            sums = sum(planned.step_counts(step)[name] for step in range(steps))
            assert sums.tolist() == total[name].tolist(), name

"""Tests of replanning: other weights while a run goes on, on plans that are open."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import plan_samples
import pytest
from plan_samples import make_config

from data_pipelines import pools, replanning
from mmjax import schedule
from mmjax.config import Mixture, WeightChange
from mmjax.schedule import Change

CAPACITY = {"pool_capacity": 64, "max_images_per_row": 16}


class Opened(SimpleNamespace):
    """As much of a pipeline as replanning touches: its plan."""

    def with_plan(self, plan):
        return Opened(plan=plan)


def opened(config, known=None):
    return Opened(plan=plan_samples.make(config, known=known))


def rows(plan, step):
    """(source, row) of each row of a batch, in order."""
    return [tuple(row) for group in plan.rows_of(step) for row in group]


def with_unit(config, unit):
    mixture = dataclasses.replace(config.mixture, unit=unit)
    return dataclasses.replace(config, mixture=mixture)


def run_live(config, wishes):
    """Batches as a run delivers them that takes {step: weights} up as soon as it can.

    Returns the rows of each batch, the config that came of it, and the last plan.
    """
    current, delivered = opened(config), []
    for step in range(config.steps):
        if step in wishes:
            first = current.plan.changeable_from(step)
            config = schedule.merged(config, [Change("", first, wishes[step])])
            current = replanning.replan(current, config, step)
        delivered.append(rows(current.plan, step))
    return delivered, config, current.plan


@pytest.mark.parametrize("unit", ["row", "loss_token", "document"])
@pytest.mark.parametrize("seed", range(4))
def test_live_changes_deliver_what_the_same_schedule_delivers_from_the_start(
    unit, seed
):
    rng = np.random.default_rng(seed)
    base = make_config(steps=60, weights=(45, 45, 10), block_batches=4, **CAPACITY)
    wishes = {
        step: (*rng.integers(0, 40, 2).tolist(), int(rng.integers(1, 9)))
        for step in sorted(rng.choice(range(1, 50), 3, replace=False).tolist())
    }
    delivered, config, last = run_live(with_unit(base, unit), wishes)
    assert len(config.mixture.schedule) >= 2
    scheduled = plan_samples.make(config)
    assert delivered == [rows(scheduled, step) for step in range(60)]
    for step in (56, 59):  # and it counts the same, though it knows no early batch
        for what, counts in scheduled.step_counts(step).items():
            np.testing.assert_array_equal(last.step_counts(step)[what], counts, what)


@pytest.mark.parametrize("seed", range(3))
def test_rows_stay_within_one_of_the_weights_at_every_prefix_across_live_changes(seed):
    rng = np.random.default_rng(seed)
    wishes = {
        int(step): tuple(int(w) for w in rng.integers(1, 60, 3))
        for step in rng.choice(range(1, 70), 4, replace=False)
    }
    base = make_config(steps=80, block_batches=4, **CAPACITY)
    delivered, config, _ = run_live(base, wishes)
    parts, asked = schedule.parts(config.mixture), np.zeros(3)
    given = np.zeros(3)
    for step, batch in enumerate(delivered):
        weights = np.array([w for start, w in parts if start <= step][-1])
        for source, *_ in batch:
            asked += weights / weights.sum()
            given[source] += 1
            assert np.abs(given - asked).max() < 1 + 1e-9


def test_the_first_changeable_step_of_a_config_is_that_of_its_plan():
    changes = (WeightChange(9, (30, 5, 1)),)
    for schedule_, unit in (
        ((), "row"),
        (changes, "row"),
        (changes, "loss_token"),
        (changes, "document"),
    ):
        config = with_unit(make_config(schedule=schedule_), unit)
        plan = plan_samples.make(config)
        for step in (0, 1, 6, 7, 13):
            found = pools.changeable_from(config, step)
            assert found == plan.changeable_from(step)


def test_the_same_plan_is_found_again_from_what_a_checkpoint_knows():
    base = make_config(steps=60, block_batches=4)
    _, config, last = run_live(base, {10: (1, 1, 6), 30: (6, 1, 1)})
    again = plan_samples.make(config, known=last.known(40))
    assert again.capacity == last.capacity
    assert [rows(again, n) for n in range(40, 60)] == [
        rows(last, n) for n in range(40, 60)
    ]


def test_a_source_that_is_not_open_and_images_that_do_not_fit_are_refused():
    base = make_config(steps=40, weights=(1, 0, 1))
    current = opened(base)
    config = schedule.merged(base, [Change("", 20, (1, 1, 1))])
    with pytest.raises(ValueError, match="source interleaved: isn't open"):
        replanning.replan(current, config, 3)
    tight = make_config(steps=40, weights=(0, 1, 20), max_images_per_row=8)
    capacity = plan_samples.make(tight).capacity
    fixed = dataclasses.replace(
        tight, data=dataclasses.replace(tight.data, pool_capacity=capacity)
    )
    config = schedule.merged(fixed, [Change("", 20, (0, 1, 0))])
    with pytest.raises(ValueError, match=rf"pool_capacity={capacity}: .* set it to"):
        replanning.replan(opened(fixed), config, 3)
    grown = replanning.replan(
        opened(tight), dataclasses.replace(tight, mixture=config.mixture), 3
    )
    assert grown.plan.capacity > capacity


def test_a_capacity_never_shrinks_while_a_run_goes_on():
    base = make_config(steps=40, weights=(1, 1, 0))
    config = dataclasses.replace(
        base, mixture=Mixture((1, 1, 1), (WeightChange(20, (0, 0, 1)),))
    )
    current = opened(dataclasses.replace(base, mixture=Mixture((1, 1, 1))))
    assert replanning.replan(current, config, 12).plan.capacity == current.plan.capacity

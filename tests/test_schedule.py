"""Tests of schedules: parts, live changes merged in, differences."""

from mmjax import config as config_lib
from mmjax import schedule
from mmjax.config import Mixture, WeightChange
from mmjax.schedule import Change


def with_changes(*changes):
    made = config_lib.Config(steps=40)
    made.mixture = Mixture((45, 45, 10), tuple(WeightChange(*c) for c in changes))
    return made


def test_a_live_change_takes_its_place_and_later_ones_stay():
    config = with_changes((10, (1, 1, 1)), (30, (0, 0, 1)))
    changes = [Change("a", 20, (2, 1, 1)), Change("b", 30, (3, 1, 1))]
    found = schedule.merged(config, changes)
    assert schedule.parts(found.mixture) == [
        (0, (45, 45, 10)),
        (10, (1, 1, 1)),
        (20, (2, 1, 1)),
        (30, (3, 1, 1)),
    ]
    assert schedule.merged(found, changes) == found
    assert config == with_changes((10, (1, 1, 1)), (30, (0, 0, 1)))


def test_of_two_live_changes_at_a_step_the_later_request_counts():
    changes = [Change("a", 5, (1, 0, 0)), Change("b", 5, (0, 1, 0))]
    found = schedule.merged(with_changes(), changes).mixture
    assert schedule.parts(found)[1:] == [(5, (0, 1, 0))]


def test_schedules_differ_first_where_only_one_of_them_has_a_part():
    one = schedule.parts(with_changes((10, (1, 1, 1)), (30, (0, 0, 1))).mixture)
    assert schedule.first_difference(one, one) is None
    other = schedule.parts(with_changes((10, (1, 1, 1)), (20, (1, 0, 0))).mixture)
    assert schedule.first_difference(one, other) == 20
    assert schedule.first_difference(other, one) == 20
    changed = schedule.parts(with_changes((10, (1, 1, 2)), (30, (0, 0, 1))).mixture)
    assert schedule.first_difference(one, changed) == 10


def test_weights_are_shown_with_their_shares():
    shown = schedule.shown((60, 30, 10), with_changes())
    assert shown == "60, 30, 10 (captions 60.0 %, interleaved 30.0 %, text 10.0 %)"

"""The loader: order and bytes don't depend on threads or processes, and it ends."""

import threading
import time

import numpy as np
import pytest
import small_world

from data_pipelines import loader
from data_pipelines.loader import Reading


def test_threads_keep_the_order():
    for threads in (0, 1, 4):
        made = loader.groups(
            small_world.backends_group, 3, 40, Reading(threads, 0, prefetch=2)
        )
        assert [group.faults[0][1] for group in made] == list(range(3, 40))


def test_workers_keep_the_order_and_start_no_jax_backend():
    made = loader.groups(small_world.backends_group, 3, 12, Reading(1, 2, prefetch=3))
    assert [group.faults[0] for group in made] == [(0, n) for n in range(3, 12)]


def slowly(number):
    time.sleep(0.01 * (number % 3))
    return small_world.backends_group(number)


def test_closing_ends_the_threads():
    before = threading.active_count()
    made = loader.groups(slowly, 0, 10_000, Reading(4, 0, prefetch=4))
    assert next(made).faults[0][1] == 0
    made.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def fails(number):
    if number == 5:
        raise ValueError("shard x: record 3 is corrupt")
    return small_world.backends_group(number)


def test_an_error_comes_as_it_was_after_what_was_before_it():
    made = loader.groups(fails, 0, 10, Reading(2, 0, prefetch=2))
    assert [next(made).faults[0][1] for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="record 3") as error:
        next(made)
    assert str(error.value) == "shard x: record 3 is corrupt"


def test_groups_are_joined_in_order():
    one, two = small_world.backends_group(0), small_world.backends_group(1)
    two.batch.tokens_ZRT[:] = 7
    batch = loader.join([one, two])
    assert batch.tokens_ZRT.shape == (2, 1, 4)
    assert np.unique(batch.tokens_ZRT[1]).tolist() == [7]
    assert batch.pixels_ZChwc.flags.c_contiguous

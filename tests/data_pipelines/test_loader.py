"""The loader: order and bytes don't depend on threads or processes, and it ends."""

import threading
import time

import pytest
import small_world

from data_pipelines import loader
from data_pipelines.loader import Reading, Work

WORK = Work(small_world.empty_batch, small_world.fill_with_backends, 3)


def check(made, start, stop):
    """Batches of 3 groups, each filled with its number, its only fault."""
    numbers = range(start, stop)
    for n, (batch, faults) in zip(numbers, made, strict=True):
        expected = [3 * n, 3 * n + 1, 3 * n + 2]
        assert batch.tokens_ZRT.shape == (3, 1, 4)
        assert batch.tokens_ZRT[:, 0, 0].tolist() == expected
        assert [fault.document for (fault,) in faults] == expected
        yield [fault.source for (fault,) in faults]


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_threads_keep_the_order(threads):
    made = loader.batches(WORK, 2, 20, Reading(threads, 0, prefetch=2))
    assert len(list(check(made, 2, 20))) == 18


def test_workers_keep_the_order_and_start_no_jax_backend():
    made = loader.batches(WORK, 2, 6, Reading(1, 2, prefetch=3))
    assert list(check(made, 2, 6)) == [[0, 0, 0]] * 4


def fill_slowly(number, out):
    time.sleep(0.01 * (number % 3))
    return small_world.fill_with_backends(number, out)


def test_threads_that_finish_out_of_order_change_nothing():
    work = WORK._replace(fill=fill_slowly)
    made = loader.batches(work, 0, 12, Reading(5, 0, prefetch=9))
    assert len(list(check(made, 0, 12))) == 12


def test_batches_are_arrays_of_their_own():
    made = [batch for batch, _ in loader.batches(WORK, 0, 4, Reading(2, 0, 2))]
    made[0].tokens_ZRT[:] = 99
    assert [int(batch.tokens_ZRT[0, 0, 0]) for batch in made[1:]] == [3, 6, 9]


def test_closing_ends_the_threads():
    before = threading.active_count()
    work = WORK._replace(fill=fill_slowly)
    made = loader.batches(work, 0, 10_000, Reading(4, 0, prefetch=4))
    next(made)
    made.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def fail(number, out):
    if number == 7:
        raise ValueError("shard x: record 3 is corrupt")
    return small_world.fill_with_backends(number, out)


def test_an_error_comes_as_it_was_after_what_was_before_it():
    made = loader.batches(WORK._replace(fill=fail), 0, 10, Reading(2, 0, prefetch=2))
    next(made)
    next(made)
    with pytest.raises(ValueError, match="record 3") as error:
        next(made)
    assert str(error.value) == "shard x: record 3 is corrupt"

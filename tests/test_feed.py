"""The feed: batches in order, ahead of time, and the time lost without one."""

import itertools
import threading
import time

import pytest

from mmjax import feed


def numbers(count, closed=None, pause=0.0):
    """Stands for the batches of a pipeline: 0, 1, 2, ..."""
    try:
        for number in itertools.count() if count is None else range(count):
            time.sleep(pause)
            yield number
    finally:
        if closed is not None:
            closed.set()


def test_batches_come_placed_and_in_order_until_they_end():
    source = feed.Feed(numbers(5), lambda n: n * 10)
    assert [source.take(lambda: False)[0] for _ in range(5)] == [0, 10, 20, 30, 40]
    with pytest.raises(StopIteration):
        source.take(lambda: False)
    source.close()


def test_an_error_of_the_source_reaches_the_step_as_it_was():
    def broken():
        yield 0
        raise ValueError("shard 3: record 5 is corrupt")

    source = feed.Feed(broken(), lambda n: n)
    assert source.take(lambda: True)[0] == 0
    with pytest.raises(ValueError, match="shard 3: record 5 is corrupt"):
        source.take(lambda: True)
    source.close()


def test_closing_early_ends_the_thread_and_closes_the_source():
    closed, before = threading.Event(), threading.active_count()
    source = feed.Feed(numbers(None, closed), lambda n: n)
    source.take(lambda: False)
    source.close()
    assert closed.is_set()
    assert threading.active_count() == before


def test_only_time_in_which_the_devices_are_idle_is_lost():
    source = feed.Feed(numbers(2, pause=0.05), lambda n: n)
    assert source.take(lambda: False)[1] == 0.0
    assert 0.01 < source.take(lambda: True)[1] < 0.5
    source.close()


def test_two_batches_are_placed_while_a_step_reads_a_third():
    made = []
    source = feed.Feed(numbers(None), made.append)
    source.take(lambda: False)
    while len(made) < 3:
        time.sleep(0.001)
    time.sleep(0.02)
    assert len(made) == 3
    source.close()


def test_it_works_no_further_ahead_than_it_is_told():
    made = []
    source = feed.Feed(numbers(None), made.append, depth=2)
    while len(made) < 3:
        time.sleep(0.001)
    time.sleep(0.02)
    assert len(made) == 3  # two wait, one more is held
    source.close()

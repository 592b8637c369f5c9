"""Read-ahead: batches take no more memory, threads or processes than is told."""

import itertools
import math
import multiprocessing
import os
import threading
import time

import pytest

from data_pipelines import pipeline, read_ahead
from data_pipelines.buffers import Recycler
from mmjax.batch import Share
from mmjax.config import Mixture, Source


class Counting(Recycler):
    """Counts arrays that were made because no dead one was there."""

    made = 0

    def empty(self, shape):
        with self._lock:
            self.made += not self._free.get(max(1, math.prod(shape)))
        return super().empty(shape)


def whole(opened):
    return Share((0, 2), (0, 4), (0, opened.capacity))


def test_a_group_has_the_bytes_of_its_arrays(world):
    config = world.config()
    opened = pipeline.open(config)
    (batch,) = opened.batches(0, 1)
    expected = sum(array.nbytes for array in batch)
    assert (
        2 * read_ahead.group_bytes(config, opened.capacity, whole(opened)) == expected
    )
    part = Share((0, 1), (1, 3), (0, 2))
    (batch,) = opened.batches(0, 1, part)
    expected = sum(array.nbytes for array in batch)
    assert read_ahead.group_bytes(config, opened.capacity, part) == expected


@pytest.mark.parametrize(("threads", "prefetch"), [(1, 1), (2, 4), (3, 9), (8, 1)])
def test_no_more_batches_exist_than_is_told(world, threads, prefetch):
    config = world.config(threads=threads, prefetch=prefetch)
    opened = pipeline.open(config)
    opened._recycler = Counting()
    for batch in opened.batches(0, 12):
        time.sleep(0.02)  # the reading runs as far ahead as it may
        assert batch.real_ZC.any()
    told = read_ahead.held(config, opened.capacity, whole(opened))
    assert 0 < opened._recycler.made <= told.batches
    assert told.size == told.batches * sum(array.nbytes for array in batch)


def test_workers_hold_groups_of_their_own(world):
    config = world.config(workers=3, prefetch=4)
    opened = pipeline.open(config)
    told = read_ahead.held(config, opened.capacity, whole(opened))
    assert (told.batches, told.groups) == (2, 3 * (2 * 2 + 2))


def busy(world, sources, **reading):
    """Most Python threads, threads of the system and processes while batches come."""
    names = itertools.islice(itertools.cycle(("captions", "text")), sources)
    made = tuple(Source(f"s{i}", f"{name}/train") for i, name in enumerate(names))
    config = world.config(sources=made, **reading)
    config.mixture = Mixture(weights=(1,) * sources)
    opened = pipeline.open(config)
    counts = []
    for _ in opened.batches(0, 8):
        children = multiprocessing.active_children()
        tasks = len(os.listdir("/proc/self/task"))
        counts.append((threading.active_count(), tasks, len(children)))
    return [max(column) for column in zip(*counts)]


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux's /proc")
def test_threads_are_as_many_as_configured_whatever_the_number_of_sources(world):
    busy(world, 1, threads=1, prefetch=1)  # array_record starts its own pool once
    before, tasks = threading.active_count(), len(os.listdir("/proc/self/task"))
    for sources, threads in ((1, 3), (12, 3), (12, 1)):
        python, system, processes = busy(world, sources, threads=threads, prefetch=6)
        assert python <= before + threads + 1  # one hands out the work
        assert system <= tasks + threads + 1
        assert processes == 0


def test_processes_are_as_many_as_configured(world):
    before = len(multiprocessing.active_children())
    *_, processes = busy(world, 12, workers=2)
    assert processes <= before + 2

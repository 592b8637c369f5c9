"""The loader: groups made ahead by threads or worker processes, joined to batches.

Grain keeps the order, so how many threads or processes there are changes no byte.
"""

import itertools
import threading
from collections.abc import Callable, Generator
from typing import NamedTuple

import grain
from absl import flags

from data_pipelines.faults import Fault
from mmjax.batch import Batch


class Reading(NamedTuple):
    """How groups are read ahead."""

    threads: int  # that make groups, in this process
    workers: int  # processes that do so instead; 0: threads
    prefetch: int  # groups read ahead


class Work(NamedTuple):
    """What is to be made; with workers, all of it is pickled."""

    empty: Callable[[int], Batch]  # a batch of so many groups, of padding
    fill: Callable[[int, Batch], list[Fault]]  # writes a group, by number, in place
    groups: int  # of a batch: batch n has the groups n x groups and so on


class _Made(NamedTuple):
    """A group that is ready."""

    faults: list[Fault]
    batch: Batch | None  # None: it was written where it belongs


def batches(
    work: Work, start: int, stop: int, reading: Reading
) -> Generator[tuple[Batch, list[list[Fault]]], None, None]:
    """Batches start, ..., stop - 1 and the faults of their groups, made ahead of use.

    What `work.fill` raises is raised here. Close the iterator to end its threads and
    processes.
    """
    local = _InPlace(work)
    make = _Apart(work) if reading.workers else local
    numbers = start * work.groups, stop * work.groups
    iterator = iter(_ahead(grain.MapDataset.range(*numbers).map(make), reading))
    try:
        for number in range(start, stop):
            parts = list(itertools.islice(iterator, work.groups))
            batch = local.take(number)
            for z, part in enumerate(parts):
                if part.batch is not None:
                    _copy(part.batch, _group(batch, z))
            yield batch, [part.faults for part in parts]
    finally:
        iterator.close()


def _ahead(groups: grain.MapDataset, reading: Reading) -> grain.IterDataset:
    """The groups in order, made ahead."""
    if not reading.workers:
        ahead = max(reading.threads, reading.prefetch)
        return groups.to_iter_dataset(grain.ReadOptions(reading.threads, ahead))
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain asks for a flag of its own
    ahead = -(-reading.prefetch // reading.workers)
    options = grain.MultiprocessingOptions(reading.workers, ahead)
    return groups.to_iter_dataset(grain.ReadOptions(0, 0)).mp_prefetch(options)


class _InPlace:
    """Makes groups inside of their batch, which threads of this process share."""

    def __init__(self, work: Work):
        self._work = work
        self._batches: dict[int, Batch] = {}
        self._lock = threading.Lock()

    def __call__(self, number: int) -> _Made:
        step, z = divmod(number, self._work.groups)
        with self._lock:
            if step not in self._batches:
                self._batches[step] = self._work.empty(self._work.groups)
            batch = self._batches[step]
        return _Made(self._work.fill(number, _group(batch, z)), None)

    def take(self, step: int) -> Batch:
        """The batch, which is forgotten; an empty one if nothing was made here."""
        with self._lock:
            batch = self._batches.pop(step, None)
        return self._work.empty(self._work.groups) if batch is None else batch


class _Apart:
    """Makes groups in arrays of their own, to be sent to another process."""

    def __init__(self, work: Work):
        self._work = work

    def __call__(self, number: int) -> _Made:
        batch = self._work.empty(1)
        return _Made(self._work.fill(number, batch), batch)


def _group(batch: Batch, z: int) -> Batch:
    """One group of a batch, as views."""
    return Batch(*(array[z : z + 1] for array in batch))


def _copy(source: Batch, target: Batch) -> None:
    for values, place in zip(source, target):
        place[...] = values

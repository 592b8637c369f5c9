"""The loader: groups made ahead by threads or worker processes, joined to batches.

Grain keeps the order, so how many threads or processes there are changes no byte.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple

import grain
import numpy as np
from absl import flags

from data_pipelines.materialize import Group
from mmjax.batch import Batch


class Reading(NamedTuple):
    """How groups are read ahead."""

    threads: int  # that make groups, in this process
    workers: int  # processes that do so instead; 0: threads
    prefetch: int  # groups read ahead


def groups(
    make: Callable[[int], Group], start: int, stop: int, reading: Reading
) -> Generator[Group, None, None]:
    """make(start), ..., make(stop - 1), made ahead of their use.

    With workers, `make` is pickled; what it raises is raised here. Close the iterator
    to end threads and processes.
    """
    data = grain.MapDataset.range(start, stop).map(make)
    if reading.workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain asks for a flag of its own
        ahead = -(-reading.prefetch // reading.workers)
        options = grain.MultiprocessingOptions(reading.workers, ahead)
        data = data.to_iter_dataset(grain.ReadOptions(0, 0)).mp_prefetch(options)
    else:
        ahead = max(reading.threads, reading.prefetch)
        data = data.to_iter_dataset(grain.ReadOptions(reading.threads, ahead))
    iterator = iter(data)
    try:
        yield from iterator
    finally:
        iterator.close()


def join(parts: list[Group]) -> Batch:
    """The batch of these groups, in order."""
    return Batch(*map(np.concatenate, zip(*(part.batch for part in parts))))

"""How much host memory batches take that are made ahead of their use."""

import math
from typing import NamedTuple

from data_pipelines import stream
from mmjax.batch import Share
from mmjax.config import Config

_COLUMNS = 6 * 4 + 1  # bytes of a position: six int32 and a bool


class Held(NamedTuple):
    """What a process holds at most."""

    batches: int  # whole ones, of its share
    groups: int  # on their way from worker processes
    size: int  # bytes of all of them


def held(config: Config, capacity: int, share: Share) -> Held:
    """What a process holds of batches, the one that is in use among them.

    Threads write into the batches themselves: beside the batch in use there is the one
    whose groups are gathered, and those that begin among the groups read ahead. With
    workers there are the first two, and each worker has one group in the making, one
    that waits for room, and its part of the prefetch, which may lie in its queue and
    once more in this process.
    """
    data = config.data
    groups = share.groups[1] - share.groups[0]
    size = group_bytes(config, capacity, share)
    if data.workers:
        each = -(-data.prefetch // data.workers)
        whole, apart = 2, data.workers * (2 * each + 2)
    else:
        whole, apart = 2 + -(-max(data.threads, data.prefetch) // groups), 0
    return Held(whole, apart, (whole * groups + apart) * size)


def group_bytes(config: Config, capacity: int, share: Share) -> int:
    """Bytes of what a share holds of one pool group."""
    shape = stream.shape_of(config, capacity)
    rows, slots = (high - low for low, high in (share.rows, share.slots))
    pixels = math.prod((shape.image_size, shape.image_size, 3))
    return rows * shape.row_tokens * _COLUMNS + slots * (
        pixels + 1 + 4 * shape.text_tokens
    )

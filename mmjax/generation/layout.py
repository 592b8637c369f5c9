"""Batches of prompts in few shapes, so that few programs are compiled.

Sizes go up in powers of two: tokens of the longest prompt, rows and image slots of a
pool group, new tokens.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int32

from mmjax import batch as batch_lib
from mmjax.batch import OF_SLOTS, PAD_SEGMENT, Batch

LEAST = 16  # tokens of prompts, and new ones, are never laid out for fewer


def bucket(size: int, least: int = 1, most: int | None = None) -> int:
    """The smallest `least` x 2^n that holds `size`; at most `most`."""
    found = least
    while found < size:
        found *= 2
    return found if most is None else min(found, most)


def deal(requests: int, mesh: Mapping[str, int]) -> list[range]:
    """The requests of each pool group of a mesh, in order; as even as can be."""
    groups = mesh["data"] * mesh["expert"]
    edges = np.linspace(0, requests, groups + 1).round().astype(int).tolist()
    return [range(*pair) for pair in itertools.pairwise(edges)]


def join(
    groups: Sequence[Batch | None],
    mesh: Mapping[str, int],
    row_tokens: int,
    least_slots: int,
) -> tuple[Batch, Int32[np.ndarray, "Z R"]]:
    """One batch of pool groups that hold a prompt a row, and the prompts' lengths.

    None is a group without rows (not all are). Real slots come first in a group; with
    none in any, there are `least_slots`.
    """
    there = [group for group in groups if group is not None]
    lengths = [(group.segments_ZRT != PAD_SEGMENT).sum(-1) for group in there]
    used = max(int(group.real_ZC.sum(1).max()) for group in there)
    most = max(int(length.max()) for length in lengths)
    rows = bucket(max(g.tokens_ZRT.shape[1] for g in there), mesh["fsdp"])
    tokens = bucket(most, math.lcm(LEAST, mesh["context"]), row_tokens)
    slots = max(used, least_slots)
    slots = (
        bucket(slots, mesh["fsdp"] * mesh["tensor"] * mesh["context"]) if slots else 0
    )
    empty = Batch(*(array[:, :0] for array in there[0]))
    parts = [
        batch_lib.padded(
            _trimmed(batch_lib.cut(empty if g is None else g, tokens), slots),
            1,
            rows,
            slots,
        )
        for g in groups
    ]
    whole = Batch(*(np.concatenate(arrays) for arrays in zip(*parts)))
    return whole, (whole.segments_ZRT != PAD_SEGMENT).sum(-1).astype(np.int32)


def _trimmed(batch: Batch, slots: int) -> Batch:
    """At most so many slots; those left out are empty."""
    arrays = batch._asdict()
    return Batch(**{n: x[:, :slots] if n in OF_SLOTS else x for n, x in arrays.items()})

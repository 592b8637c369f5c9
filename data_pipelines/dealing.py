"""Rows dealt to pool groups so that every group needs about as many image slots."""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Dealt(NamedTuple):
    """Which row stands at each position, and what each group needs."""

    rows: np.ndarray  # int64 [positions], place among the rows of that source
    loads: np.ndarray  # int64 [groups], slots


def deal(slots: Sequence[np.ndarray], sources: np.ndarray, rows_per_pool: int) -> Dealt:
    """Deals the rows of each source among the positions that are the source's own.

    slots: of each source, the slots of its rows, as many as it has positions; sources:
    [positions], whole groups. Source by source, the most even one first, the heaviest
    remaining row goes to the lightest group with a position left (LPT). Of rows that
    need the same, the earlier one comes first; a source of equal rows keeps its order.
    """
    groups = len(sources) // rows_per_pool
    group_of = np.arange(len(sources)) // rows_per_pool
    rows = np.empty(len(sources), np.int64)
    loads = [0] * groups
    for source in sorted(range(len(slots)), key=lambda s: _spread(slots[s])):
        places = np.flatnonzero(sources == source)
        if not len(places):
            continue
        order = np.argsort(-slots[source], kind="stable")
        costs = slots[source][order]
        free = np.bincount(group_of[places], minlength=groups)
        found = np.array(_lightest_first(costs.tolist(), free.tolist(), loads))
        found = found[np.lexsort((found, -costs))]
        rows[places] = order[np.lexsort((order, found))]
    return Dealt(rows, np.array(loads, np.int64))


def _spread(slots: np.ndarray) -> float:
    """Sum of squared deviations from the mean: what a source can balance."""
    count, total = len(slots), int(slots.sum())
    squares = int((slots.astype(np.int64) ** 2).sum())
    return (count * squares - total**2) / max(count, 1)


def _lightest_first(costs: list[int], free: list[int], loads: list[int]) -> list[int]:
    """The group of each row, in order; `free` and `loads` are brought up to date."""
    heap = [(load, group) for group, load in enumerate(loads) if free[group]]
    heapq.heapify(heap)
    found = []
    for cost in costs:
        _, group = heap[0]
        found.append(group)
        loads[group] += cost
        free[group] -= 1
        if free[group]:
            heapq.heapreplace(heap, (loads[group], group))
        else:
            heapq.heappop(heap)
    return found

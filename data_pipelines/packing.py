"""Chunks packed into rows by best fit, window after window."""

import bisect
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Packing(NamedTuple):
    """Chunks grouped into rows."""

    order: np.ndarray  # int64 [chunks]: places in the input, row after row
    row_start: np.ndarray  # int64 [rows + 1]: places in order
    row_window: np.ndarray  # int64 [rows]


def pack(
    tokens: np.ndarray,
    slots: np.ndarray,
    windows: Iterable[tuple[int, int]],
    row_tokens: int,
    max_images: int,
) -> Packing:
    """Packs the chunks of each window [start, stop) by `best_fit`; windows in order.

    tokens, slots: integers [chunks]. Chunks of a row keep the order of the input.
    """
    row_of = np.empty(len(tokens), np.int64)
    rows = [0]
    for start, stop in windows:
        found = best_fit(tokens[start:stop], slots[start:stop], row_tokens, max_images)
        row_of[start:stop] = found + rows[-1]
        rows.append(rows[-1] + int(found.max()) + 1)
    row_start = np.concatenate([[0], np.cumsum(np.bincount(row_of))])
    row_window = np.repeat(np.arange(len(rows) - 1), np.diff(rows))
    return Packing(np.argsort(row_of, kind="stable"), row_start, row_window)


def best_fit(
    tokens: np.ndarray, slots: np.ndarray, row_tokens: int, max_images: int
) -> np.ndarray:
    """The row of each chunk, int64 [chunks]: best-fit decreasing, rows from 0.

    Of tokens and slots, the one that is scarcer counts: the chunk that needs most of it
    comes first, and goes to the row that has least left of it but enough of both.
    """
    (most, first), (limit, second) = (row_tokens, tokens), (max_images, slots)
    if int(slots.sum()) * row_tokens > int(tokens.sum()) * max_images:
        (most, first), (limit, second) = (limit, second), (most, first)
    count, base = len(first), limit + 1
    order = np.lexsort((-second, -first))
    least, fewest = int(first.min()), int(second.min())
    open_rows: list[int] = []  # ascending: (left of first, left of second, row) as one
    left: list[int] = []  # of the second, in each row
    rows = []
    for need, other in zip(first[order].tolist(), second[order].tolist()):
        place = bisect.bisect_left(open_rows, (need * base + other) * count)
        while place < len(open_rows) and left[open_rows[place] % count] < other:
            place += 1
        if place < len(open_rows):
            room, row = divmod(open_rows.pop(place), count)
            room //= base
        else:
            room, row = most, len(left)
            left.append(limit)
        rows.append(row)
        room -= need
        left[row] -= other
        if room >= least and left[row] >= fewest:
            bisect.insort(open_rows, (room * base + left[row]) * count + row)
    result = np.empty(count, np.int64)
    result[order] = rows
    return result

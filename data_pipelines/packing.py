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

    Longest chunk first, each into the fullest row that still has room for its tokens
    and its slots.
    """
    count = len(tokens)
    order = np.argsort(-tokens, kind="stable")
    smallest, fewest = int(tokens.min()), int(slots.min())
    spaces: list[int] = []  # of rows with room, ascending: space * count + row
    free: list[int] = []  # slots left in each row
    rows = []
    for size, images in zip(tokens[order].tolist(), slots[order].tolist()):
        place = bisect.bisect_left(spaces, size * count)
        while place < len(spaces) and free[spaces[place] % count] < images:
            place += 1
        if place < len(spaces):
            space, row = divmod(spaces.pop(place), count)
        else:
            space, row = row_tokens, len(free)
            free.append(max_images)
        rows.append(row)
        space -= size
        free[row] -= images
        if space >= smallest and free[row] >= fewest:
            bisect.insort(spaces, space * count + row)
    result = np.empty(count, np.int64)
    result[order] = rows
    return result

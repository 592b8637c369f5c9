"""Chunks packed into rows by best fit."""

import bisect

import numpy as np


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

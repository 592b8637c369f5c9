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
    count = len(first)
    order = np.lexsort((-second, -first))
    least, fewest = int(first.min()), int(second.min())
    # An open row is one number, left of first, left of second, row, so that ascending
    # numbers are in the order in which rows are tried.
    low, high = count.bit_length(), count.bit_length() + limit.bit_length()
    mask = (1 << low) - 1
    open_rows: list[int] = []
    left: list[int] = []  # of the second, in each row
    rows = []
    find, insert = bisect.bisect_left, bisect.insort
    for need, other in zip(first[order].tolist(), second[order].tolist()):
        place, stop = find(open_rows, need << high | other << low), len(open_rows)
        while place < stop and left[open_rows[place] & mask] < other:
            place += 1
        if place < stop:
            found = open_rows.pop(place)
            row, room = found & mask, (found >> high) - need
            left[row] -= other
        else:
            row, room = len(left), most - need
            left.append(limit - other)
        rows.append(row)
        if room >= least and left[row] >= fewest:
            insert(open_rows, room << high | left[row] << low | row)
    result = np.empty(count, np.int64)
    result[order] = rows
    return result

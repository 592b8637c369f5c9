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
    order = np.lexsort((-second, -first))
    # A row is one number: left of first, a bit that is 1, left of second, the row; so
    # ascending numbers are in the order in which rows are tried, a chunk is taken off
    # both at once, and the bit is 0 where the second didn't suffice.
    low = len(first).bit_length()
    enough = 1 << low + limit.bit_length()
    high = enough.bit_length()
    small = high + (2 * most + 1).bit_length() < 63
    number = np.int64 if small else object
    first, second = first[order].astype(number), second[order].astype(number)
    needs = first << high | second << low
    empty, end = most << high | enough | limit << low, 2 * most + 1 << high | enough
    end |= enough - (1 << low)  # after the last row, a place with enough for all
    full = most + 1 << high
    # Chunks of more than half a row begin one each.
    count = int((first > most // 2).sum())
    begun = empty - needs[:count] + np.arange(count)
    least, fewest = int(first.min()) << high, int(second.min()) << low
    open_rows = begun[(begun >= least) & (begun - fewest & enough > 0)]
    open_rows = [*np.sort(open_rows).tolist(), end]
    found = []
    find, insert = bisect.bisect_left, bisect.insort
    for need in needs[count:].tolist():
        place = find(open_rows, need)
        row = open_rows[place] - need
        while not row & enough:
            place += 1
            row = open_rows[place] - need
        if row < full:
            del open_rows[place]
        else:
            row = empty - need + count
            count += 1
        found.append(row)
        if row >= least and row - fewest & enough:
            insert(open_rows, row)
    result = np.empty(len(order), np.int64)
    rows = np.concatenate([begun, np.array(found, begun.dtype)])
    result[order] = (rows & (1 << low) - 1).astype(np.int64)
    return result

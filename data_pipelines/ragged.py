"""Ragged arrays: lists of different lengths, one after the other in one array."""

import numpy as np


def sums_before(values: np.ndarray) -> np.ndarray:
    """Sums of the values before each place, int64 [len(values) + 1]."""
    return np.concatenate([[0], np.cumsum(values, dtype=np.int64)])


def ranges(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """first[0], first[0] + 1, ... counts[0] numbers, then those of first[1], ..."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(first + counts - ends, counts) + np.arange(total)

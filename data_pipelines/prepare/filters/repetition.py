"""How much a text repeats itself: the measures of Gopher's Table A1 (Rae et al., 2021).

Every measure is a share from 0 to 1. A repeat is every occurrence but the first, and a
character counts once however many repeats it lies in.
"""

from collections.abc import Sequence

import numpy as np

from data_pipelines.prepare import words


def repeated(pieces: Sequence[str]) -> float:
    """Share of lines or paragraphs that are repeats."""
    return (len(pieces) - len(set(pieces))) / max(1, len(pieces))


def repeated_characters(pieces: Sequence[str]) -> float:
    """Share of the characters of lines or paragraphs that are in repeats."""
    total = sum(map(len, pieces))
    return (total - sum(map(len, set(pieces)))) / max(1, total)


def most_frequent_run(hashed: np.ndarray, sizes: np.ndarray, length: int) -> float:
    """Share of the characters of words in the run of `length` words seen most often.

    Takes a hash and the number of characters of each word ([words] both). Of several
    runs that are seen equally often the longest counts.
    """
    found = words.runs(hashed, length)
    _, first, which, counts = np.unique(
        found, return_index=True, return_inverse=True, return_counts=True
    )
    if not len(counts) or counts.max() < 2:
        return 0.0
    before = np.concatenate(([0], np.cumsum(sizes)))
    characters = (before[length:] - before[:-length])[first]
    top = np.argmax(np.where(counts == counts.max(), characters, -1))
    return _covered(which == top, sizes, length) / int(sizes.sum())


def repeated_runs(hashed: np.ndarray, sizes: np.ndarray, length: int) -> float:
    """Share of the characters of words in repeats of runs of `length` words."""
    found = words.runs(hashed, length)
    _, first = np.unique(found, return_index=True)
    if len(first) == len(found):
        return 0.0
    is_repeat = np.ones(len(found), bool)
    is_repeat[first] = False
    return _covered(is_repeat, sizes, length) / int(sizes.sum())


def _covered(starts: np.ndarray, sizes: np.ndarray, length: int) -> int:
    """Characters of the words that are in runs at the given starts ([runs], bool)."""
    inside = np.zeros(len(sizes), bool)
    for word in range(length):
        inside[word : word + len(starts)] |= starts
    return int(sizes[inside].sum())

"""Counted n-grams of candidate captions and their references, for BLEU and CIDEr."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ORDERS = 4  # n-grams of 1 to 4 words
Tokens = Sequence[str]


class Table(NamedTuple):
    """A row for each different n-gram of each caption, sorted by caption and n-gram.

    The first captions are the candidates, one an image; the references follow.
    """

    caption: np.ndarray  # [rows] number of the caption
    ngram: np.ndarray  # [rows] number of the n-gram, the same in all captions
    times: np.ndarray  # [rows] how often the caption has it
    order: np.ndarray  # [n-grams] words of each n-gram, less one
    words: np.ndarray  # [captions] words of each caption
    image: np.ndarray  # [captions] number of the image it describes
    images: int

    def by_order(self, rows: np.ndarray, addends: np.ndarray) -> np.ndarray:
        """Sums of what some rows add, by caption and order, [captions, orders]."""
        place = self.caption[rows] * ORDERS + self.order[self.ngram[rows]]
        sums = np.bincount(place, addends, len(self.words) * ORDERS)
        # Of no rows at all, bincount gives integers.
        return sums.reshape(-1, ORDERS).astype(np.float64)


def table(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> Table:
    """Counts the n-grams of one candidate and at least one reference an image."""
    captions = [*candidates, *(caption for image in references for caption in image)]
    words = np.array([len(caption) for caption in captions], np.int64)
    owners, ngrams, sizes = _occurrences(captions, words)
    keys, times = np.unique(owners * sum(sizes) + ngrams, return_counts=True)
    caption, ngram = np.divmod(keys, max(1, sum(sizes)))
    images = np.arange(len(candidates))
    of_references = np.repeat(images, [len(image) for image in references])
    return Table(
        caption,
        ngram,
        times,
        np.repeat(np.arange(ORDERS), sizes),
        words,
        np.concatenate([images, of_references]),
        len(images),
    )


def shared(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows, (of a reference, of its image's candidate), with one n-gram."""
    size = len(table.order)
    key = table.image[table.caption] * size + table.ngram
    first = int(np.searchsorted(table.caption, table.images))  # row of a reference
    mine, theirs = key[:first], key[first:]
    if not len(mine):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(mine, theirs), len(mine) - 1)
    found = np.flatnonzero(mine[place] == theirs)
    return first + found, place[found]


def _occurrences(
    captions: Sequence[Tokens], words: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The caption and the number of every n-gram that occurs; n-grams of each order."""
    numbers: dict[str, int] = {}
    flat = [numbers.setdefault(word, len(numbers)) for c in captions for word in c]
    word = np.array(flat, np.int64)
    owner = np.repeat(np.arange(len(captions)), words)
    at, ngram = np.arange(len(word)), word
    owners, ngrams, sizes = [], [], []
    for order in range(ORDERS):
        kinds, ngram = np.unique(ngram, return_inverse=True)
        owners.append(owner[at])
        ngrams.append(ngram + sum(sizes))
        sizes.append(len(kinds))
        longer = at + order + 1 < len(word)
        at, ngram = at[longer], ngram[longer]
        within = owner[at] == owner[at + order + 1]
        at, ngram = at[within], ngram[within]
        ngram = ngram * len(numbers) + word[at + order + 1]
    return np.concatenate(owners), np.concatenate(ngrams), sizes

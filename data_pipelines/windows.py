"""One window of a source: documents that are packed together, and their rows.

A window is a pure function of the documents' columns, their numbers, the layout and a
key, and takes a few milliseconds; so none is ever stored, only how many rows and
tokens lie before it.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from data_pipelines import chunks, packing
from data_pipelines.chunks import POSITIONS, SLOTS, STATS, Chunks, Documents, Layout


class Chunk(NamedTuple):
    """Positions [start, stop) of a document of the row's source."""

    document: int
    start: int
    stop: int


class Row(NamedTuple):
    """What one packed row holds, in order."""

    chunks: tuple[Chunk, ...]
    positions: int
    slots: int


class Window(NamedTuple):
    """The rows of a window."""

    numbers: np.ndarray  # int64 [documents], in the source
    table: Chunks  # of these documents
    order: np.ndarray  # int64 [chunks], row after row
    row_start: np.ndarray  # int64 [rows + 1], places in order
    before: np.ndarray  # int64 [rows + 1, len(STATS)], sums of the rows before each

    def row(self, place: int) -> Row:
        """What one of the rows holds."""
        ids = self.order[self.row_start[place] : self.row_start[place + 1]]
        table = self.table
        columns = (self.numbers[table.document[ids]], table.start[ids], table.stop[ids])
        parts = tuple(Chunk(*part) for part in zip(*(c.tolist() for c in columns)))
        sums = table.sums[ids].sum(axis=0)
        return Row(parts, int(sums[POSITIONS]), int(sums[SLOTS]))


class Sizes(NamedTuple):
    """What prefix sums are made of."""

    rows: int
    stats: np.ndarray  # int64 [len(STATS)]


def pack(documents: Documents, numbers: np.ndarray, layout: Layout, key: str) -> Window:
    """The rows of these documents, in an order that the key decides."""
    table = chunks.chunk(chunks.take(documents, numbers), layout, numbers)
    sizes, slots = table.sums[:, POSITIONS], table.sums[:, SLOTS]
    row_of = packing.best_fit(sizes, slots, layout.row_tokens, layout.max_images)
    count = int(row_of.max()) + 1
    place_of = np.empty(count, np.int64)
    place_of[_shuffled(count, key)] = np.arange(count)
    place = place_of[row_of]
    order = np.argsort(place, kind="stable")
    row_start = chunks.sums_before(np.bincount(place, minlength=count))
    before = np.zeros((count + 1, len(STATS)), np.int64)
    sums = table.sums[order].astype(np.int64)
    before[1:] = np.cumsum(np.add.reduceat(sums, row_start[:-1], axis=0), axis=0)
    return Window(numbers, table, order, row_start, before)


def measure(documents: Documents, numbers: np.ndarray, layout: Layout) -> Sizes:
    """The sizes of the window of these documents, which are complete.

    Exactly those of `pack`, but only documents that are cut are looked at in detail.
    """
    assert documents.totals is not None
    found = documents.totals[numbers]
    sizes, slots = (found[name].astype(np.int64) for name in ("positions", "slots"))
    large = np.flatnonzero((sizes > layout.row_tokens) | (slots > layout.max_images))
    if len(large):
        cut = chunks.take(documents, numbers[large])
        table = chunks.chunk(cut, layout, numbers[large])
        counts = np.ones(len(numbers), np.int64)
        counts[large] = np.diff(table.first)
        places = chunks.ranges((np.cumsum(counts) - counts)[large], counts[large])
        sizes, slots = np.repeat(sizes, counts), np.repeat(slots, counts)
        sizes[places], slots[places] = table.sums[:, POSITIONS], table.sums[:, SLOTS]
    row_of = packing.best_fit(sizes, slots, layout.row_tokens, layout.max_images)
    return Sizes(int(row_of.max()) + 1, chunks.stats(found))


def _shuffled(count: int, key: str) -> np.ndarray:
    """A permutation of [0, count)."""
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    bits = np.random.Philox(key=int.from_bytes(digest, "little"))
    # Sorted raw bits, not Generator.permutation: numpy keeps only them for ever.
    return np.argsort(bits.random_raw(count), kind="stable")

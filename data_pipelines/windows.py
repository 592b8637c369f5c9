"""One window of a source: documents that are packed together, and their rows.

A window is a pure function of the documents' columns, their numbers, the layout and a
key, and takes a few milliseconds; so none is ever stored, only how many rows and
tokens lie before it.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from data_pipelines import chunks, columns, packing, ragged, totals
from data_pipelines.chunks import Chunks, Layout
from data_pipelines.index_columns import POSITIONS, SLOTS, STATS, TOTALS, Documents


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
    """The rows of these documents, in an order that the key decides.

    The documents are complete. Only those that are cut are looked at in detail.
    """
    table = _table(documents, numbers, layout)
    sizes, slots = table.sums[:, POSITIONS], table.sums[:, SLOTS]
    row_of = packing.best_fit(sizes, slots, layout.row_tokens, layout.max_images)
    count = int(row_of.max()) + 1
    place_of = np.empty(count, np.int64)
    place_of[_shuffled(count, key)] = np.arange(count)
    place = place_of[row_of]
    order = np.argsort(place, kind="stable")
    row_start = ragged.sums_before(np.bincount(place, minlength=count))
    before = np.zeros((count + 1, len(STATS)), np.int64)
    sums = table.sums[order].astype(np.int64)
    before[1:] = np.cumsum(np.add.reduceat(sums, row_start[:-1], axis=0), axis=0)
    return Window(numbers, table, order, row_start, before)


def measure(documents: Documents, numbers: np.ndarray, layout: Layout) -> list[Sizes]:
    """The sizes of the windows that these documents fill, exactly those of `pack`."""
    found = _totals(documents, numbers)
    sizes, slots = (found[name].astype(np.int64) for name in ("positions", "slots"))
    large, tokens = _large(found, layout), layout.row_tokens
    counts = -(-sizes // tokens)  # as text is cut, which takes no look at its segments
    pictured = large[found["images"][large] > 0]
    table = None
    if len(pictured):
        table = _cut(documents, numbers[pictured], layout)
        counts[pictured] = np.diff(table.first)
    first = ragged.sums_before(counts)
    if len(large):
        within = np.arange(first[-1]) - np.repeat(first[:-1], counts)
        sizes = np.minimum(np.repeat(sizes, counts) - within * tokens, tokens)
        slots = np.repeat(slots, counts)
        if table is not None:
            places = ragged.ranges(first[:-1][pictured], counts[pictured])
            sizes[places] = table.sums[:, POSITIONS]
            slots[places] = table.sums[:, SLOTS]
    result = []
    for start in range(0, len(numbers), layout.window):
        stop = min(start + layout.window, len(numbers))
        part = slice(first[start], first[stop])
        row_of = packing.best_fit(sizes[part], slots[part], tokens, layout.max_images)
        stats = totals.stats(found[start:stop])
        result.append(Sizes(int(row_of.max()) + 1, stats))
    return result


def _table(documents: Documents, numbers: np.ndarray, layout: Layout) -> Chunks:
    """The chunks of these documents, as `chunks.chunk` cuts them."""
    found = _totals(documents, numbers)
    sums = np.empty((len(numbers), len(STATS)), np.int32)
    for column, name in enumerate(STATS):
        if name in (TOTALS.names or ()):
            sums[:, column] = found[name]
    sums[:, STATS.index("documents")] = 1
    text = found["positions"] - found["image_tokens"] - 1
    sums[:, STATS.index("text_tokens")] = text
    stop = found["positions"].astype(np.int64)
    document = np.arange(len(numbers))
    start = np.zeros_like(stop)
    large = _large(found, layout)
    counts = np.ones(len(numbers), np.int64)
    if len(large):
        cut = _cut(documents, numbers[large], layout)
        counts, places = _places(len(numbers), large, cut)
        document = np.repeat(document, counts)
        start, stop, sums = (np.repeat(x, counts, axis=0) for x in (start, stop, sums))
        start[places], stop[places], sums[places] = cut.start, cut.stop, cut.sums
    return Chunks(ragged.sums_before(counts), document, start, stop, sums)


def _totals(documents: Documents, numbers: np.ndarray) -> np.ndarray:
    assert documents.totals is not None
    return documents.totals[numbers]


def _large(found: np.ndarray, layout: Layout) -> np.ndarray:
    """Places of the documents that exceed a row."""
    tokens, slots = layout.row_tokens, layout.max_images
    return np.flatnonzero((found["positions"] > tokens) | (found["slots"] > slots))


def _cut(documents: Documents, numbers: np.ndarray, layout: Layout) -> Chunks:
    return chunks.chunk(columns.take(documents, numbers), layout, numbers)


def _places(
    count: int, large: np.ndarray, table: Chunks
) -> tuple[np.ndarray, np.ndarray]:
    """Chunks of each document, and where those of the large ones stand."""
    counts = np.ones(count, np.int64)
    counts[large] = np.diff(table.first)
    return counts, ragged.ranges((np.cumsum(counts) - counts)[large], counts[large])


def _shuffled(count: int, key: str) -> np.ndarray:
    """A permutation of [0, count)."""
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    bits = np.random.Philox(key=int.from_bytes(digest, "little"))
    # Sorted raw bits, not Generator.permutation: numpy keeps only them for ever.
    return np.argsort(bits.random_raw(count), kind="stable")

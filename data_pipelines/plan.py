"""The pack plan: which parts of which documents stand in row k of a source.

Every epoch is another permutation of all documents, cut into windows whose chunks are
packed best-fit; epochs follow each other, so row k lies in the epoch whose rows contain
it. All of it follows from the index, the layout and the epoch.
"""

import hashlib
import pathlib
import re
from typing import NamedTuple

import numpy as np
import tqdm

from data_pipelines import chunks, packing, plan_cache
from data_pipelines.chunks import POSITIONS, SLOTS, STATS, Documents, Layout
from data_pipelines.memo import Memo, RunningTotal
from mmjax.config import Config

VERSION = 1  # of the algorithm: another version, other rows
KEPT_CHUNKS = 4_000_000  # about so many stay in memory, in whole epochs
CACHED_FROM = 50_000  # documents; a smaller epoch is packed in no time


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


class _Epoch(NamedTuple):
    order: np.ndarray  # int64 [chunks], row after row
    row_start: np.ndarray  # int64 [rows + 1], places in order
    before: np.ndarray  # int64 [rows + 1, len(STATS)], sums of the rows before each


def layout(config: Config) -> Layout:
    """The limits that a config sets to the rows of every source."""
    data = config.data
    tokens = max(1, config.model.connector.tokens)
    limit = data.max_images_per_row or max(1, data.row_tokens // tokens)
    if data.pool_capacity:
        limit = min(limit, data.pool_capacity)
    return Layout(data.row_tokens, limit, data.pack_window, data.seed)


class SourcePlan:
    """All rows of one source, for ever.

    Raises ValueError for a source without documents, or with an image that no row can
    hold. `cache_dir` is a folder that keeps large epochs; None: memory only.
    """

    def __init__(
        self,
        name: str,
        documents: Documents,
        layout: Layout,
        cache_dir: pathlib.Path | str | None = None,
        progress: bool = True,
    ):
        if len(documents.segment_start) < 2:
            raise ValueError(f"source {name!r} has no documents")
        self.name = name
        self.documents = documents
        self.layout = layout
        facts = (VERSION, name, documents.digest, *layout)
        self.digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
        self._cache_dir = None if cache_dir is None else pathlib.Path(cache_dir)
        self._progress = progress
        try:
            self._chunks = chunks.chunk(documents, layout)
        except ValueError as error:
            raise ValueError(f"source {name!r}, {error}") from None
        kept = KEPT_CHUNKS // len(self._chunks.document)
        self._epoch = Memo(self._make_epoch, min(max(kept, 2), 4096))
        self._rows_before = RunningTotal(self.rows)
        self._epoch_sums = self._chunks.sums.sum(axis=0, dtype=np.int64)

    def rows(self, epoch: int) -> int:
        """Rows of an epoch."""
        return len(self._epoch(epoch).row_start) - 1

    def epoch_of(self, k: int) -> tuple[int, int]:
        """The epoch of row k, and that epoch's first row."""
        return self._rows_before.find(k)

    def epochs(self, k: int) -> float:
        """Epochs that the first k rows are, with the fraction of the last one."""
        epoch, first = self.epoch_of(max(k - 1, 0))
        return epoch + (k - first) / self.rows(epoch)

    def row(self, k: int) -> Row:
        """What row k holds."""
        number, first = self.epoch_of(k)
        epoch, table = self._epoch(number), self._chunks
        place = k - first
        ids = epoch.order[epoch.row_start[place] : epoch.row_start[place + 1]]
        columns = (table.document[ids], table.start[ids], table.stop[ids])
        parts = tuple(Chunk(*part) for part in zip(*(c.tolist() for c in columns)))
        sums = table.sums[ids].sum(axis=0)
        return Row(parts, int(sums[POSITIONS]), int(sums[SLOTS]))

    def row_stats(self, start: int, stop: int) -> np.ndarray:
        """STATS of each row in [start, stop), int64 [stop - start, len(STATS)]."""
        parts = [np.zeros((0, len(STATS)), np.int64)]
        while start < stop:
            number, first = self.epoch_of(start)
            end = min(stop, first + self.rows(number))
            before = self._epoch(number).before[start - first : end - first + 1]
            parts.append(np.diff(before, axis=0))
            start = end
        return np.concatenate(parts)

    def row_images(self, start: int, stop: int) -> np.ndarray:
        """Pool slots of each row in [start, stop), int64 [stop - start]."""
        return self.row_stats(start, stop)[:, SLOTS]

    def sums_before(self, k: int) -> np.ndarray:
        """STATS of the first k rows together, int64 [len(STATS)]."""
        number, first = self.epoch_of(max(k - 1, 0))
        return number * self._epoch_sums + self._epoch(number).before[k - first]

    def stats(self, start: int, stop: int) -> dict[str, int]:
        """STATS of the rows in [start, stop) together, by name."""
        sums = self.sums_before(stop) - self.sums_before(start)
        return dict(zip(STATS, sums.tolist()))

    def _make_epoch(self, epoch: int) -> _Epoch:
        """Reads an epoch from the cache, or packs it and writes it there."""
        count = len(self.documents.segment_start) - 1
        path = None
        if self._cache_dir is not None and count >= CACHED_FROM:
            name = re.sub(r"\W", "-", self.name)
            path = self._cache_dir / f"{name}-{self.digest[:12]}-{epoch:05d}.npz"
        key = f"{self.digest} epoch {epoch}"
        arrays = None if path is None else plan_cache.load(path, key)
        if arrays is None:
            order, row_start = self._pack(epoch)
            if path is not None:
                arrays = {"order": order, "row_start": row_start}
                plan_cache.save(path, key, arrays)
        else:
            order, row_start = arrays["order"], arrays["row_start"]
        columns = (
            chunks.sums_before(sums[order])[row_start] for sums in self._chunks.sums.T
        )
        return _Epoch(order, row_start, np.stack(list(columns), axis=1))

    def _pack(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Order of all chunks, row after row, and where each row begins in it."""
        limits, table = self.layout, self._chunks
        key = hashlib.sha256(f"{limits.seed} {epoch} {self.name}".encode()).digest()
        bits = np.random.Philox(key=int.from_bytes(key[:16]))
        # Sorted raw bits, not Generator.permutation: numpy keeps only them for ever.
        documents = np.argsort(bits.random_raw(len(table.first) - 1), kind="stable")
        counts = np.diff(table.first)[documents]
        ids = _ranges(table.first[documents], counts)
        stops = np.cumsum(
            np.add.reduceat(counts, np.arange(0, len(counts), limits.window))
        )
        windows = list(zip([0, *stops[:-1].tolist()], stops.tolist()))
        if self._progress and len(windows) > 100:
            words = f"packing {self.name}, epoch {epoch}"
            windows = tqdm.tqdm(windows, words, unit="window", delay=5)
        sizes, slots = (table.sums[ids, column] for column in (POSITIONS, SLOTS))
        packed = packing.pack(
            sizes, slots, windows, limits.row_tokens, limits.max_images
        )
        rows = np.lexsort((bits.random_raw(len(packed.row_window)), packed.row_window))
        lengths = np.diff(packed.row_start)[rows]
        order = ids[packed.order[_ranges(packed.row_start[rows], lengths)]]
        return order, np.concatenate([[0], np.cumsum(lengths)])


def _ranges(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """first[0], first[0] + 1, ... counts[0] numbers, then those of first[1], ..."""
    ends = np.cumsum(counts)
    return np.repeat(first + counts - ends, counts) + np.arange(ends[-1])

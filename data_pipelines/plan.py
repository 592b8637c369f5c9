"""The pack plan: which parts of which documents stand in row k of a source.

Every epoch is another permutation of all documents, cut into windows whose chunks are
packed best-fit; epochs follow each other, so row k lies in the epoch whose rows contain
it. All of it follows from the index, the layout and the epoch: kept are only the rows
and tokens before each window, and windows are packed again when a row is asked for.
"""

import concurrent.futures
import functools
import hashlib
import itertools
import multiprocessing
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines import bars, chunks, plan_cache, shuffle, totals, windows
from data_pipelines.chunks import Layout
from data_pipelines.index_columns import SLOTS, STATS, Documents
from data_pipelines.memo import Chain, Memo
from data_pipelines.windows import Row, Window
from mmjax import config as config_lib
from mmjax.config import Config

VERSION = 2  # of the algorithm: another version, other rows
KEPT_DOCUMENTS = 1_000_000  # about so many stay in memory, in whole windows
CACHED_FROM = 50_000  # documents; a smaller epoch is packed in no time
SPREAD_FROM = 4_000_000  # documents; a smaller epoch is packed by one process
_PART = 64  # windows that are packed at a time

Known = tuple[str, Sequence[int]]  # digest of a plan, rows of its first epochs


class _Begin(NamedTuple):
    """Where an epoch begins."""

    epoch: int
    row: int


class _Epoch(NamedTuple):
    """What lies before each window of an epoch, and before its end."""

    rows: np.ndarray  # int64 [windows + 1]
    sums: np.ndarray  # int64 [windows + 1, len(STATS)]


class _Facts(NamedTuple):
    """What the order of an epoch follows from."""

    name: str
    size: int  # documents
    layout: Layout

    @property
    def windows(self) -> int:
        return -(-self.size // self.layout.window)

    def numbers(self, epoch: int, window: int, count: int = 1) -> np.ndarray:
        """The documents of so many windows from this one on, int64."""
        start, stop = window * self.layout.window, (window + count) * self.layout.window
        places = np.arange(start, min(stop, self.size))
        return shuffle.permute(places, self.size, self.key(epoch))

    def key(self, epoch: int) -> str:
        return f"{self.layout.seed} {epoch} {self.name}"


def layout(config: Config) -> Layout:
    """The limits that a config sets to the rows of every source."""
    data, slots = config.data, config_lib.row_slots(config)
    return Layout(data.row_tokens, slots, data.pack_window, data.seed)


class SourcePlan:
    """All rows of one source, for ever.

    `cache_dir` is a folder that keeps what lies before the windows of large epochs;
    None: memory only. `known` is what `known` gave in an earlier run, so that whole
    epochs before this one needn't be packed; of another plan, it is ignored. A large
    epoch of documents in files is packed by `processes` together. Raises ValueError for
    a source without documents, or with an image that no row can hold.
    """

    def __init__(
        self,
        name: str,
        documents: Documents,
        layout: Layout,
        cache_dir: pathlib.Path | str | None = None,
        progress: bool = True,
        known: Known = ("", ()),
        processes: int = 1,
    ):
        size = len(documents.segment_start) - 1
        if size < 1:
            raise ValueError(f"source {name!r} has no documents")
        self.name = name
        self.layout = layout
        facts = (VERSION, name, documents.digest, *layout)
        self.digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
        self._facts = _Facts(name, size, layout)
        self._cache_dir = None if cache_dir is None else pathlib.Path(cache_dir)
        self._progress = progress
        self._processes = processes
        try:
            self.documents = totals.complete(documents)
            chunks.require_images_fit(self.documents, layout)
        except ValueError as error:
            raise ValueError(f"source {name!r}, {error}") from None
        assert self.documents.summary is not None
        self._epoch_sums = np.array(self.documents.summary.stats, np.int64)
        self._epoch = Memo(self._make_epoch, 8)
        rows = known[1] if known[0] == self.digest else ()
        begins = enumerate(itertools.accumulate(rows, initial=0))
        self._begins = Chain([_Begin(*begin) for begin in begins], self._after)
        kept = KEPT_DOCUMENTS // min(layout.window, size)
        self._window = Memo(self._make_window, max(kept, 4))

    def rows(self, epoch: int) -> int:
        """Rows of an epoch."""
        return self._begins[epoch + 1].row - self._begins[epoch].row

    def epoch_of(self, k: int) -> tuple[int, int]:
        """The epoch of row k, and that epoch's first row."""
        return self._begins.last(k, key=lambda begin: begin.row)

    def known(self, k: int) -> Known:
        """The plan's digest, and the rows of each epoch before that of row k."""
        return self.digest, [self.rows(epoch) for epoch in range(self.epoch_of(k)[0])]

    def epochs(self, k: int) -> float:
        """Epochs that the first k rows are, with the fraction of the last one."""
        epoch, first = self.epoch_of(max(k - 1, 0))
        return epoch + (k - first) / self.rows(epoch)

    def row(self, k: int) -> Row:
        """What row k holds."""
        window, place, _ = self._find(k)
        return window.row(place)

    def row_stats(self, start: int, stop: int) -> np.ndarray:
        """STATS of each row in [start, stop), int64 [stop - start, len(STATS)]."""
        parts = [np.zeros((0, len(STATS)), np.int64)]
        while start < stop:
            window, place, _ = self._find(start)
            before = window.before[place : place + stop - start + 1]
            parts.append(np.diff(before, axis=0))
            start += len(before) - 1
        return np.concatenate(parts)

    def row_images(self, start: int, stop: int) -> np.ndarray:
        """Pool slots of each row in [start, stop), int64 [stop - start]."""
        return self.row_stats(start, stop)[:, SLOTS]

    def slots_before(self, k: int) -> int:
        """Pool slots of the first k rows together."""
        return int(self.sums_before(k)[SLOTS])

    def sums_before(self, k: int) -> np.ndarray:
        """STATS of the first k rows together, int64 [len(STATS)]."""
        if not k:
            return np.zeros(len(STATS), np.int64)
        window, place, before = self._find(k - 1)
        return before + window.before[place + 1]

    def stats(self, start: int, stop: int) -> dict[str, int]:
        """STATS of the rows in [start, stop) together, by name."""
        sums = self.sums_before(stop) - self.sums_before(start)
        return dict(zip(STATS, sums.tolist()))

    def _find(self, k: int) -> tuple[Window, int, np.ndarray]:
        """The window of row k, its place there, and STATS of all rows before it."""
        number, first = self.epoch_of(k)
        epoch = self._epoch(number)
        at = int(np.searchsorted(epoch.rows, k - first, side="right")) - 1
        window = self._window(number * self._facts.windows + at)
        before = number * self._epoch_sums + epoch.sums[at]
        return window, k - first - int(epoch.rows[at]), before

    def _after(self, begin: _Begin) -> _Begin:
        """Where the next epoch begins."""
        rows = int(self._epoch(begin.epoch).rows[-1])
        return _Begin(begin.epoch + 1, begin.row + rows)

    def _make_window(self, number: int) -> Window:
        epoch, at = divmod(number, self._facts.windows)
        key = f"{self._facts.key(epoch)} {at}"
        numbers = self._facts.numbers(epoch, at)
        return windows.pack(self.documents, numbers, self.layout, key)

    def _make_epoch(self, epoch: int) -> _Epoch:
        """Reads an epoch from the cache, or packs it and writes it there."""
        path = None
        if self._cache_dir is not None and self._facts.size >= CACHED_FROM:
            name = re.sub(r"\W", "-", self.name)
            path = self._cache_dir / f"{name}-{self.digest[:12]}-{epoch:05d}.npz"
        key = f"{self.digest} epoch {epoch}"
        arrays = None if path is None else plan_cache.load(path, key)
        if arrays is None:
            arrays = {"sizes": np.concatenate(list(self._measure(epoch)))}
            if path is not None:
                plan_cache.save(path, key, arrays)
        before = np.zeros((self._facts.windows + 1, 1 + len(STATS)), np.int64)
        np.cumsum(arrays["sizes"], axis=0, out=before[1:])
        return _Epoch(np.ascontiguousarray(before[:, 0]), before[:, 1:])

    def _measure(self, epoch: int) -> Iterator[np.ndarray]:
        """Rows and STATS of all windows of an epoch, part after part."""
        count = self._facts.windows
        parts = range(0, count, _PART)
        bar = functools.partial(
            bars.bar, total=len(parts), desc=f"packing {self.name}, epoch {epoch}",
            unit=f"x{_PART} windows", delay=5, disable=None if self._progress else True,
        )  # fmt: skip
        measure = functools.partial(_measure_part, self.documents, self._facts, epoch)
        spread = self.documents.folder and self._facts.size >= SPREAD_FROM
        if not spread or self._processes < 2:
            yield from bar(map(measure, parts))
            return
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(self._processes, context) as pool:
            yield from bar(pool.map(measure, parts))


def _measure_part(
    documents: Documents, facts: _Facts, epoch: int, first: int
) -> np.ndarray:
    """Rows and STATS of the windows from `first` on, int64 [windows, ...]."""
    sizes = windows.measure(documents, facts.numbers(epoch, first, _PART), facts.layout)
    return np.array([[s.rows, *s.stats.tolist()] for s in sizes], np.int64)

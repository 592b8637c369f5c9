"""What a run reads, as grain datasets: to look at, to map, to build on.

    records(folder)    a random-access source of documents
    rows(pipeline)     a MapDataset of packed rows, those of the run in its order
    batches(pipeline)  an IterDataset of batches, whose state is one integer

Threads and processes are those of the config, however many sources there are:
`data.threads` threads (or `data.workers` processes) make groups, and array_record keeps
one pool of 64 threads for the whole process, which idle here.
"""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import grain
import numpy as np
from jaxtyping import Bool, Int32, UInt8

from data_pipelines.batches import Pipeline
from data_pipelines.records import Document
from data_pipelines.shard_reader import ShardReader
from mmjax.batch import Batch, Share


class PackedRow(NamedTuple):
    """One row, as in `Batch`, with images of its own."""

    tokens_T: Int32[np.ndarray, "T"]
    targets_T: Int32[np.ndarray, "T"]
    loss_mask_T: Bool[np.ndarray, "T"]
    segments_T: Int32[np.ndarray, "T"]
    positions_T: Int32[np.ndarray, "T"]
    images_T: Int32[np.ndarray, "T"]  # 0 or more: token n % Q of the row's slot n // Q
    sources_T: Int32[np.ndarray, "T"]  # place in config.data.sources
    pixels_Ihwc: UInt8[np.ndarray, "I h w c"]
    texts_IW: Int32[np.ndarray, "I W"]  # what a connector reads beside each slot


def records(folder: str | pathlib.Path) -> "Records":
    """The documents of a folder of shards, by number.

    Raises ValueError where it isn't one; reading a record raises BadRecordError where
    it is damaged.
    """
    return Records(ShardReader(folder))


def rows(pipeline: Pipeline, start: int = 0, stop: int | None = None) -> Any:
    """A grain.MapDataset of the PackedRows of batches [start, stop), in order.

    Any row costs one read of its records, and once per block of batches its planning.
    Without `stop`: to the end of the run.
    """
    stop = pipeline.steps if stop is None else stop
    _require_range(start, stop)
    return grain.MapDataset.source(_Rows(pipeline, start, stop))


def batches(
    pipeline: Pipeline,
    start: int = 0,
    stop: int | None = None,
    share: Share | None = None,
) -> "Batches":
    """A grain.IterDataset of the batches [start, stop), or of a share of them.

    The state of its iterator is {"step": number of the next batch}, whatever threads
    and workers the config has; any iterator over the same run goes on from it. Batches
    are made ahead by the pipeline itself: no `mp_prefetch` is needed.
    """
    stop = pipeline.steps if stop is None else stop
    _require_range(start, stop)
    return Batches(pipeline, start, stop, share)


def _require_range(start: int, stop: int) -> None:
    if not 0 <= start <= stop:
        raise ValueError(f"batches {start} to {stop}: must not be negative, in order")


class Records:
    """A grain RandomAccessDataSource of documents. Picklable and thread-safe.

    A read costs O(1) in the size of its shard; neighbours are read together.
    """

    def __init__(self, reader: ShardReader):
        self._reader = reader

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int) -> Document:
        return self._reader.document(index)

    def __getitems__(self, numbers: Sequence[int]) -> list[Document]:
        """The documents of these numbers, in their order."""
        parts = self._reader.read_many(numbers)
        return [self._reader.parse(n, data) for n, data in zip(numbers, parts)]

    _getitems = __getitems__  # the name that MapDataset knows

    def __repr__(self) -> str:
        return f"Records({str(self._reader.directory)!r})"


class _Rows:
    """The source below `rows`."""

    def __init__(self, pipeline: Pipeline, start: int, stop: int):
        self._pipeline, self._start, self._stop = pipeline, start, stop

    def __len__(self) -> int:
        return (self._stop - self._start) * self._pipeline.rows_per_batch

    def __getitem__(self, index: int) -> PackedRow:
        step, row = divmod(index, self._pipeline.rows_per_batch)
        found = self._pipeline.row(self._start + step, row)
        *columns, pixels_ZChwc, _, texts_ZCW = found
        fields = [column[0, 0] for column in columns]
        return PackedRow(*fields, pixels_Ihwc=pixels_ZChwc[0], texts_IW=texts_ZCW[0])


class Batches(grain.IterDataset[Batch]):
    """The dataset that `batches` makes."""

    def __init__(self, pipeline: Pipeline, start: int, stop: int, share: Share | None):
        super().__init__()
        self._pipeline, self._start, self._stop = pipeline, start, stop
        self._share = share

    def __iter__(self) -> "BatchIterator":
        return BatchIterator(self._pipeline, self._start, self._stop, self._share)


class BatchIterator(grain.DatasetIterator[Batch]):
    """Batches from a step on. Closing it ends its threads and processes."""

    def __init__(self, pipeline: Pipeline, start: int, stop: int, share: Share | None):
        super().__init__()
        self._pipeline, self._stop, self._share = pipeline, stop, share
        self._first, self._step = start, start
        self._made: Any = None  # the generator that is open

    def __next__(self) -> Batch:
        self._assert_not_closed()
        if self._made is None:
            self._made = self._pipeline.batches(self._step, self._stop, self._share)
        batch = next(self._made)
        self._step += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        """{"step": number of the next batch}."""
        return {"step": self._step}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on with the batch of a state; ValueError where there is none."""
        step = int(state["step"])
        if not self._first <= step <= self._stop:
            raise ValueError(
                f"state of step {step}: batches are {self._first} to {self._stop - 1}"
            )
        self._end()
        self._step = step

    def close(self) -> None:
        self._end()
        super().close()

    def _end(self) -> None:
        if self._made is not None:
            self._made.close()
        self._made = None

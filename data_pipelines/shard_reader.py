"""The records of shards, read in any order, by any thread."""

import bisect
import collections
import itertools
import logging
import pathlib
import threading
import time
from collections.abc import Callable, Sequence

from array_record.python import (
    array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
)

from data_pipelines import paths, records, retry, shard_files, shards
from data_pipelines.faults import BadRecordError
from data_pipelines.records import Document

log = logging.getLogger(__name__)

_OPEN_FILES = 64  # shards that a reader holds open


class ShardReader:
    """Records of a folder of shards by global number. Picklable and thread-safe.

    Raises ValueError, naming the file, where the folder has no manifest or a shard is
    missing, shorter or longer than the manifest says; a `tolerant` reader only warns of
    such a shard, and its records are bad ones. A read that fails with an OSError is
    tried again, after `sleep` (see `retry`).
    """

    def __init__(
        self,
        directory: str | pathlib.Path,
        tolerant: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ):
        paths.require_shards(directory)
        self.directory = paths.of(directory)
        self.manifest = shards.read_manifest(directory)
        self._sleep = sleep
        infos = self.manifest["shards"]
        self._files = [info["file"] for info in infos]
        counts = (info["records"] for info in infos)
        self._starts = list(itertools.accumulate(counts, initial=0))
        for problem in shard_files.problems(self.directory, infos):
            if not tolerant:
                raise ValueError(problem)
            log.warning("%s: its records are bad", problem)
        self._open, self._lock = collections.OrderedDict(), threading.Lock()

    def __len__(self) -> int:
        return self._starts[-1]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open": None, "_lock": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open, self._lock = collections.OrderedDict(), threading.Lock()

    def place(self, number: int) -> tuple[pathlib.Path, int]:
        """File of a record, and its number inside of it."""
        shard, inside = self._find(number)
        return self.directory / self._files[shard], inside

    def read(self, number: int) -> bytes:
        """The record's bytes; BadRecordError naming its place if it can't be read."""
        shard, inside = self._find(number)
        return self._range(shard, inside, inside + 1)[0]

    def read_many(self, numbers: Sequence[int]) -> list[bytes]:
        """The bytes of records in any order; neighbours are read together."""
        found: dict[int, bytes] = {}
        places = sorted({(*self._find(number), number) for number in numbers})
        # Neighbours have the same difference to their places in a list of all.
        for _, group in itertools.groupby(
            enumerate(places), lambda item: (item[1][0], item[1][1] - item[0])
        ):
            run = [place for _, place in group]
            shard, first, _ = run[0]
            parts = self._range(shard, first, first + len(run))
            found.update(zip((number for *_, number in run), parts))
        return [found[number] for number in numbers]

    def document(self, number: int) -> Document:
        """The record's document; BadRecordError as of `read`."""
        return self.parse(number, self.read(number))

    def parse(self, number: int, data: bytes) -> Document:
        """The document of a record's bytes; BadRecordError where they are none."""
        try:
            return records.decode(data)
        except ValueError as error:
            path, inside = self.place(number)
            raise BadRecordError(
                "not_a_record", f"{path}: record {inside}: {error}"
            ) from error

    def _find(self, number: int) -> tuple[int, int]:
        """Shard of a record, and its number inside of it."""
        if not 0 <= number < len(self):
            raise IndexError(f"{self.directory}: record {number} of {len(self)}")
        shard = bisect.bisect_right(self._starts, number) - 1
        return shard, number - self._starts[shard]

    def _range(self, shard: int, first: int, stop: int) -> list[bytes]:
        """Records [first, stop) of a shard."""
        path = self.directory / self._files[shard]
        words = f"record {first}" + (f" to {stop - 1}" if stop > first + 1 else "")
        try:
            return retry.on_os_error(
                lambda: self._read_range(shard, first, stop), self._sleep
            )
        except OSError as error:
            raise BadRecordError(
                "unreadable", f"{path}: {words} can't be read: {error}"
            ) from error
        except (RuntimeError, IndexError) as error:
            raise BadRecordError(
                "corrupt", f"{path}: {words} is corrupt: {error}"
            ) from error

    def _read_range(self, shard: int, first: int, stop: int) -> list[bytes]:
        """One attempt of `_range`; OSError where the storage fails."""
        try:
            # The range form costs O(1), read([inside]) O(records of the file).
            return self._reader(shard).read(first, stop)
        except (RuntimeError, IndexError):
            with self._lock:
                self._open.pop(shard, None)
            # array_record has one error for all; the storage tells its own.
            with (self.directory / self._files[shard]).open("rb") as file:
                file.read(1)
            raise

    def _reader(self, shard: int) -> array_record_module.ArrayRecordReader:
        with self._lock:
            reader = self._open.pop(shard, None)
            if reader is None:
                reader = shard_files.open_shard(self.directory / self._files[shard])
                if len(self._open) >= _OPEN_FILES:
                    self._open.popitem(last=False)  # closed when its last reader ends
            self._open[shard] = reader
            return reader

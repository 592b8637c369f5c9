"""Lines of a file, plain or compressed, and its division into ranges of bytes."""

import gzip
import importlib
import io
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from data_pipelines.prepare.raw import Reject, Unit

UNIT_BYTES = 64 * 2**20
BOM = b"\xef\xbb\xbf"
_BLOCK = 2**20


class Line(NamedTuple):
    """A line as the file holds it."""

    number: int  # from 1
    offset: int  # of its first byte, in bytes of the unpacked file
    data: bytes  # with its line end


class Broken(Exception):  # noqa: N818
    """A compressed file that can't be unpacked to its end."""


def compressed(path: str | pathlib.Path) -> bool:
    """Whether the file's name says that it is compressed."""
    return str(path).lower().endswith((".gz", ".zst"))


def with_compressed(*suffixes: str) -> tuple[str, ...]:
    """The suffixes, and each of them followed by .gz and .zst."""
    return tuple(s + ending for s in suffixes for ending in ("", ".gz", ".zst"))


def open_bytes(path: str | pathlib.Path) -> BinaryIO:
    """The file, unpacked as it is read; reading raises Broken where that fails."""
    name = str(path).lower()
    if name.endswith(".gz"):
        return cast(BinaryIO, io.BufferedReader(_Gzip(path), _BLOCK))
    if name.endswith(".zst"):
        return cast(BinaryIO, io.BufferedReader(_Zstd(path), _BLOCK))
    return open(path, "rb")


def ranges(
    path: str | pathlib.Path, size: int = UNIT_BYTES
) -> Iterator[tuple[int, int, int]]:
    """Ranges of bytes (start, stop, number of the first line) that end at line ends.

    Each has `size` bytes and the rest of its last line. A compressed file, in which
    nobody can start in the middle, is one range.
    """
    total = pathlib.Path(path).stat().st_size
    if compressed(path) or total <= size:
        yield 0, total, 1
        return
    start, first = 0, 1
    with open(path, "rb") as file:
        while start < total:
            count = _pass_over(file, size)
            yield start, file.tell(), first
            start, first = file.tell(), first + count


def units(path: pathlib.Path, folder: str, name: str) -> Iterator[Unit]:
    """The file's ranges, as units of the format `name`."""
    for start, stop, first in ranges(path):
        yield Unit(str(path), name, folder, start, stop, first)


def read(unit: Unit) -> Iterator[Line | Reject]:
    """Lines that start in the unit's range, and a reject if the file ends too early."""
    number, offset = unit.first, unit.start
    whole = compressed(unit.file)
    try:
        with open_bytes(unit.file) as file:
            if unit.start:
                file.seek(unit.start)
            for data in file:
                if offset >= unit.stop and not whole:
                    return
                line = data if offset else data.removeprefix(BOM)
                yield Line(number, offset, line)
                number, offset = number + 1, offset + len(data)
    except Broken as error:
        yield rest_lost(unit.file, number, str(error))


def rest_lost(file: str, number: int, detail: str) -> Reject:
    """What is told of a file that can't be read beyond the record `number`."""
    return Reject(file, number, "broken_file", detail, "rest of the file")


def _pass_over(file: BinaryIO, size: int) -> int:
    """Moves `size` bytes on, and to the end of that line; counts the lines."""
    count, last = 0, b""
    while size > 0 and (block := file.read(min(size, _BLOCK))):
        count += block.count(b"\n")
        size -= len(block)
        last = block[-1:]
    return count if last == b"\n" else count + file.readline().endswith(b"\n")


class _Gzip(io.RawIOBase):
    """A gzip file whose faults are Broken."""

    def __init__(self, path: str | pathlib.Path):
        self._file = gzip.open(path, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return self._file.readinto(buffer)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Broken(f"not whole: {error}") from error

    def close(self) -> None:
        self._file.close()
        super().close()


class _Zstd(io.RawIOBase):
    """A zstd file of any number of frames.

    The library's own reader takes a frame that is cut off for the file's end.
    """

    def __init__(self, path: str | pathlib.Path):
        self._library = _zstandard()
        self._file = open(path, "rb")  # noqa: SIM115  (closed with this)
        self._frame: Any = None
        self._input = self._output = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._output:
            self._input = self._input or self._file.read(_BLOCK)
            if not self._input:
                if self._frame is not None:
                    raise Broken("not whole: the last frame is cut off")
                return 0
            self._output = self._unpack()
        count = min(len(buffer), len(self._output))
        buffer[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _unpack(self) -> bytes:
        if self._frame is None:
            options = {"max_window_size": 2**31}  # written with --ultra --long=31
            self._frame = self._library.ZstdDecompressor(**options).decompressobj()
        try:
            output = self._frame.decompress(self._input)
        except self._library.ZstdError as error:
            raise Broken(f"not zstd: {error}") from error
        self._input = b""
        if self._frame.eof:
            self._input, self._frame = self._frame.unused_data, None
        return output

    def close(self) -> None:
        self._file.close()
        super().close()


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ModuleNotFoundError as error:
        raise ValueError(
            "zstandard is not installed: run  pip install 'mmjax[prepare]'"
        ) from error

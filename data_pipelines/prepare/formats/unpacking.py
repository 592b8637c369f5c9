"""Compressed files, as streams of what they hold: .gz, .zst, and .zip of one file."""

import gzip
import importlib
import io
import pathlib
import zlib
from typing import Any, BinaryIO, cast

from data_pipelines.prepare.formats import zips

_BLOCK = 2**20
_ENDINGS = (".gz", ".zst", zips.SUFFIX)


class Broken(Exception):  # noqa: N818
    """A compressed file that can't be unpacked to its end."""


def compressed(path: str | pathlib.Path) -> bool:
    """Whether the file's name says that it is compressed."""
    return str(path).lower().endswith(_ENDINGS)


def with_compressed(*suffixes: str) -> tuple[str, ...]:
    """The suffixes, and each of them followed by .gz, .zst and .zip."""
    return tuple(s + ending for s in suffixes for ending in ("", *_ENDINGS))


def open_bytes(path: str | pathlib.Path) -> BinaryIO:
    """The file, unpacked as it is read; reading raises Broken where that fails."""
    name = str(path).lower()
    if name.endswith(".gz"):
        return cast(BinaryIO, io.BufferedReader(_Gzip(path), _BLOCK))
    if name.endswith(".zst"):
        return cast(BinaryIO, io.BufferedReader(_Zstd(path), _BLOCK))
    if name.endswith(zips.SUFFIX):
        return cast(BinaryIO, io.BufferedReader(_Zip(zips.open_only(path)), _BLOCK))
    return open(path, "rb")


class _Gzip(io.RawIOBase):
    """A gzip file whose faults are Broken."""

    def __init__(self, path: str | pathlib.Path):
        self._file = gzip.open(path, "rb")  # noqa: SIM115  (closed with this)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # Not readinto, which fills the buffer, and loses what it has where it can't.
        try:
            data = self._file.read1(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Broken(f"not whole: {error}") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Zip(io.RawIOBase):
    """The one file of a zip, unpacked as it is read; its faults are Broken."""

    def __init__(self, file: BinaryIO):
        self._file: Any = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read1(len(buffer))
        except zips.FAULTS as error:
            raise Broken(f"not whole: {error}") from error
        buffer[: len(data)] = data
        return len(data)

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

"""Lines of a file, plain or compressed, and its division into ranges of bytes."""

import pathlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from data_pipelines.prepare.formats import unpacking
from data_pipelines.prepare.formats.unpacking import Broken
from data_pipelines.prepare.raw import Reject, Unit

UNIT_BYTES = 8 * 2**20
BOM = b"\xef\xbb\xbf"
_BLOCK = 2**20


class Line(NamedTuple):
    """A line as the file holds it."""

    number: int  # from 1
    offset: int  # of its first byte, in bytes of the unpacked file
    data: bytes  # with its line end


def ranges(
    path: str | pathlib.Path, size: int = UNIT_BYTES
) -> Iterator[tuple[int, int, int]]:
    """Ranges of bytes (start, stop, number of the first line) that end at line ends.

    Each has `size` bytes and the rest of its last line. A compressed file, in which
    nobody can start in the middle, is one range.
    """
    total = pathlib.Path(path).stat().st_size
    if unpacking.compressed(path) or total <= size:
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
    whole = unpacking.compressed(unit.file)
    try:
        with unpacking.open_bytes(unit.file) as file:
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

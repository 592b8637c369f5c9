"""JSON records: the lines of a .jsonl, or the elements of an array, .json."""

import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from data_pipelines.prepare.formats import (
    fields,
    json_array,
    lines,
    renaming,
    sampling,
    unpacking,
)
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.raw import Raw, Reject, Unit

SUFFIXES = unpacking.with_compressed(".jsonl", ".ndjson", ".json")
_TRIED = 20  # records at most that are looked at to find a whole one
_HEAD = 2**16  # bytes, of which one isn't white space
_LONGEST = 2**26  # bytes of a line that is looked at when sniffing

Convert = Callable[[Record, Settings], Iterator[Raw | Reject]]


def is_array(path: str | pathlib.Path) -> bool:
    """Whether the file is one array rather than lines."""
    with unpacking.open_bytes(path) as file:
        return file.read(_HEAD).removeprefix(lines.BOM).lstrip().startswith(b"[")


def units(path: pathlib.Path, folder: str, name: str) -> Iterator[Unit]:
    """Ranges of lines; an array is one unit, in bytes of the file."""
    try:
        array = is_array(path)
    except unpacking.Broken:
        array = False  # read tells it
    if array:
        yield Unit(str(path), name, folder, 0, path.stat().st_size, 1)
    else:
        yield from lines.units(path, folder, name)


def read(unit: Unit, settings: Settings, convert: Convert) -> Iterator[Raw | Reject]:
    """What `convert` makes of every chosen record of the unit."""
    for entry in entries(unit):
        if isinstance(entry, Reject):
            yield entry
            continue
        number, data = entry
        if sampling.is_behind(number, unit.choice):
            return
        if not sampling.wanted(number, unit.choice):
            continue
        try:
            values = renaming.renamed(fields.parse(data), unit.columns)
            yield from convert(Record(unit, number, values), settings)
        except Bad as bad:
            yield Reject(unit.file, number, bad.reason, bad.detail, "record")


def entries(unit: Unit) -> Iterator[tuple[int, bytes] | Reject]:
    """Numbers and bytes of the unit's records; blank lines count, but aren't given."""
    try:
        array = is_array(unit.file)
    except unpacking.Broken as error:
        yield lines.rest_lost(unit.file, 1, str(error))
        return
    if array:
        yield from members(unit)
        return
    for line in lines.read(unit):
        if isinstance(line, Reject):
            yield line
        elif line.data.strip():
            yield line.number, line.data


def count(path: pathlib.Path) -> int:
    """How many records the file has, as they are numbered: the number of the last."""
    last = 0
    for unit in units(path, "", ""):
        for entry in entries(unit):
            last = last if isinstance(entry, Reject) else entry[0]
    return last


def members(unit: Unit, member: str = "") -> Iterator[tuple[int, bytes] | Reject]:
    """Numbers and bytes of the elements of an array, or of a member of an object."""
    number = 0
    try:
        with unpacking.open_bytes(unit.file) as file:
            for number, data in enumerate(json_array.elements(file, member), start=1):
                yield number, data
    except (unpacking.Broken, ValueError) as error:
        yield lines.rest_lost(unit.file, number + 1, str(error))


def _short_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines up to one that is an object on its own rather than a record."""
    while (line := file.readline(_LONGEST)) and len(line) < _LONGEST:
        yield line


def first(path: pathlib.Path, member: str = "") -> dict[str, Any]:
    """The first record that is whole, of the file or an array in it; {} if none is."""
    try:
        with unpacking.open_bytes(path) as file:
            if member or is_array(path):
                found = json_array.elements(file, member)
            else:
                found = _short_lines(file)
            for data in itertools.islice(found, _TRIED):
                try:
                    return fields.parse(data.removeprefix(lines.BOM))
                except Bad:
                    continue
    except (unpacking.Broken, ValueError):
        pass
    return {}

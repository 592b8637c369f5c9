"""Plain text: .txt, divided as `text_split` says, and JSON lines of {text}."""

import itertools
import pathlib
from collections.abc import Iterator

from data_pipelines.prepare.formats import (
    captions,
    fields,
    json_records,
    lines,
    text_splits,
    unpacking,
)
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.formats.text_splits import Row
from data_pipelines.prepare.raw import Raw, Reject, Unit
from data_pipelines.records import Text

_TXT = unpacking.with_compressed(".txt")
_HEAD = 2**20  # bytes in which a file that has headings shows one
_NO_END = 2**63
_BLOCK = 2**16


def _is_txt(path: str | pathlib.Path) -> bool:
    """Whether the file is text: all but JSON, if the user says so (text:README)."""
    return not str(path).lower().endswith(json_records.SUFFIXES)


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    if settings.text_split not in text_splits.CHOICES:
        rule = f"must be one of {', '.join(text_splits.CHOICES)}"
        raise ValueError(f"text_split {settings.text_split!r}: {rule}")
    if _is_txt(unit.file):
        return _documents(unit, settings)
    return json_records.read(unit, settings, _convert)


def _convert(record: Record, settings: Settings) -> Iterator[Raw | Reject]:
    key = settings.text_key or "text"
    text = record.fields.get(key)
    if not isinstance(text, str):
        raise Bad("missing_field", f"needs {key}, a text")
    if not text.strip():
        raise Bad("empty_text", "no text in the document")
    document = (Text(fields.clean(text.strip("\r\n"))),)
    yield fields.raw(record, (document,), (key,))


def _documents(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    """Documents that begin in the unit; the last one may end behind it."""
    name = settings.text_split
    if name == text_splits.AUTO:
        name = "heading" if _has_headings(unit.file) else "passage"
    stop = _NO_END if unpacking.compressed(unit.file) else unit.stop
    bad: list[Reject] = []
    rows, seen = itertools.tee(_rows(unit, bad))
    document: list[Row] = []
    for begins, row in zip(text_splits.SPLITS[name](seen), rows):
        if begins or not document:
            yield from _joined(unit, document)
            document = []
            if row.offset >= stop:
                break
        if document or (begins and row.offset >= unit.start):
            document.append(row)
    yield from _joined(unit, document)
    yield from (r for r in bad if unit.first <= r.number)


def _joined(unit: Unit, rows: list[Row]) -> Iterator[Raw]:
    text = "\n".join(row.text for row in rows)
    if text.strip():
        document = (Text(text.strip("\r\n")),)
        yield Raw(unit.file, rows[0].number, (document,), unit.folder)


def _rows(unit: Unit, bad: list[Reject]) -> Iterator[Row]:
    """Lines from a bit before the unit, as a split wants, to the end of the file.

    One that isn't UTF-8 is empty, and noted in `bad` if it is in the unit.
    """
    begin, before = _lines_before(unit)
    number = unit.first - before
    for line in lines.read(unit._replace(start=begin, stop=_NO_END, first=number)):
        if isinstance(line, Reject):
            bad.append(line)
            return
        text = ""
        try:
            text = line.data.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            if unit.start <= line.offset < unit.stop or unpacking.compressed(unit.file):
                reject = Reject(unit.file, line.number, "not_utf8", str(error), "line")
                bad.append(reject)
        yield Row(line.number, line.offset, text)


def _lines_before(unit: Unit) -> tuple[int, int]:
    """Where the lines that a split must see begin, and how many are before the unit."""
    if not unit.start:
        return 0, 0
    grid = unit.start // text_splits.GRID * text_splits.GRID
    with open(unit.file, "rb") as file:
        begin, found = grid - 1, -1
        while begin > 0 and found < 0:
            block = max(0, begin - _BLOCK)
            file.seek(block)
            found = file.read(begin - block).rfind(b"\n")
            begin = block + found + 1 if found >= 0 else block
        begin = max(begin, 0)
        file.seek(begin)
        return begin, file.read(unit.start - begin).count(b"\n")


def _has_headings(path: str) -> bool:
    try:
        with unpacking.open_bytes(path) as file:
            head = file.read(_HEAD).removeprefix(lines.BOM).decode("utf-8", "replace")
    except unpacking.Broken:
        return False
    rows = (row.rstrip("\r") for row in head.split("\n"))
    return any(text_splits.is_heading(row) for row in rows)


def _sniff(path: pathlib.Path) -> bool:
    if _is_txt(path):
        return True
    values = json_records.first(path)
    captioned = any(key in values for key in captions.IMAGE_KEYS)
    return isinstance(values.get("text"), str) and not captioned


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    if _is_txt(path):
        return lines.units(path, folder, "text")
    return json_records.units(path, folder, "text")


FORMAT = Format((*_TXT, *json_records.SUFFIXES), _sniff, _units, _read)

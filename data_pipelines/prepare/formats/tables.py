"""Captions as a table, CSV or TSV with a header: a row is a picture and its caption."""

import csv
import pathlib
from collections.abc import Iterable, Iterator

from data_pipelines.prepare.formats import captions, lines, unpacking
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.raw import Raw, Reject, Unit

_HEADER_BYTES = 2**20  # at most


def _is_tsv(path: str | pathlib.Path) -> bool:
    return ".tsv" in pathlib.Path(path).name.lower()[-8:]


def _rows(file: Iterable[str], path: str | pathlib.Path):
    # Tabs need no quotes, so a quotation mark in such a table is just that.
    if _is_tsv(path):
        return csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.reader(file)


def header(path: str | pathlib.Path) -> list[str]:
    """The names of the columns; ValueError where the first row can't be read."""
    try:
        with unpacking.open_bytes(path) as file:
            raw = file.readline(_HEADER_BYTES).removeprefix(lines.BOM)
        return next(_rows([raw.decode("utf-8")], path), [])
    except (UnicodeDecodeError, csv.Error, unpacking.Broken) as error:
        raise ValueError(f"{path}: the header can't be read ({error})") from error


def _sniff(path: pathlib.Path) -> bool:
    try:
        return all(captions.keys(dict.fromkeys(header(path)), Settings()))
    except ValueError:
        return False


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    """Ranges of a TSV; a CSV, in which a line end may be quoted, is one unit."""
    if _is_tsv(path):
        yield from lines.units(path, folder, "table")
    else:
        yield Unit(str(path), "table", folder, 0, path.stat().st_size, 1)


def _check(unit: Unit, names: list[str], settings: Settings) -> None:
    image, text = captions.keys(dict.fromkeys(names), settings)
    if not image or not text:
        wanted = settings.image_key or "image", settings.text_key or "caption"
        rule = f"header {names} must name {' and '.join(wanted)}"
        raise ValueError(f"{unit.file}: {rule}")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    """Numbers are those of lines; of the last line, where a row has several."""
    names = header(unit.file)
    _check(unit, names, settings)
    bad: list[Reject] = []
    rows = _rows(_decoded(unit, bad), unit.file)
    if not unit.start:
        next(rows, None)
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            number = unit.first - 1 + rows.line_num
            yield Reject(unit.file, number, "malformed_row", str(error), "record")
            continue
        if cells is None:
            break
        if cells:
            number = unit.first - 1 + rows.line_num
            yield from _row(unit, number, names, cells, settings)
    yield from bad


def _row(
    unit: Unit, number: int, names: list[str], cells: list[str], settings: Settings
) -> Iterator[Raw | Reject]:
    if len(cells) != len(names):
        detail = f"{len(cells)} cells under a header of {len(names)}"
        yield Reject(unit.file, number, "malformed_row", detail, "record")
        return
    try:
        record = Record(unit, number, dict(zip(names, cells)))
        yield from captions.convert(record, settings)
    except Bad as bad:
        yield Reject(unit.file, number, bad.reason, bad.detail, "record")


def _decoded(unit: Unit, bad: list[Reject]) -> Iterator[str]:
    """Lines as text; one that isn't UTF-8 is empty, and noted in `bad`."""
    for line in lines.read(unit):
        if isinstance(line, Reject):
            bad.append(line)
            return
        try:
            yield line.data.decode("utf-8")
        except UnicodeDecodeError as error:
            reject = Reject(unit.file, line.number, "not_utf8", str(error), "record")
            bad.append(reject)
            yield "\n"


FORMAT = Format(unpacking.with_compressed(".csv", ".tsv"), _sniff, _units, _read)

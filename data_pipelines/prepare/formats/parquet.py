"""Parquet files, a few rows at a time: what every format of them shares."""

import contextlib
import importlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.raw import Raw, Reject, Unit

SUFFIXES = (".parquet",)
UNIT_ROWS = 20_000  # of a unit at least, where row groups are smaller
UNIT_BYTES = 2**28  # likewise, uncompressed
_BATCH_ROWS, _BATCH_IMAGES = 1024, 8  # rows in memory; of those that hold pictures
_BUFFER = 2**20  # bytes read of a column at a time: a page is held, no row group

Convert = Callable[[Record, Settings], Iterator[Raw | Reject]]


def columns(path: pathlib.Path) -> dict[str, Any]:
    """The pyarrow types of a file's columns by name; ValueError if it's no parquet."""
    with _opened(str(path)) as file:
        return {field.name: field.type for field in file.schema_arrow}


def units(
    path: pathlib.Path,
    folder: str,
    name: str,
    least_rows: int = UNIT_ROWS,
    least_bytes: int = UNIT_BYTES,
) -> Iterator[Unit]:
    """Runs of whole row groups, of `least_rows` or `least_bytes` together."""
    with _opened(str(path)) as file:
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        sizes = [(group.num_rows, group.total_byte_size) for group in groups]
    start = stop = held = 0
    for rows, size in sizes:
        stop, held = stop + rows, held + size
        if stop - start >= least_rows or held >= least_bytes:
            yield Unit(str(path), name, folder, start, stop, start + 1)
            start, held = stop, 0
    if stop > start:
        yield Unit(str(path), name, folder, start, stop, start + 1)


def read(unit: Unit, settings: Settings, convert: Convert) -> Iterator[Raw | Reject]:
    """What `convert` makes of the unit's rows; a row that raises Bad is rejected.

    Raises ValueError where the user names a column that the file doesn't have.
    """
    names = columns(pathlib.Path(unit.file))
    for key in (settings.image_key, settings.text_key):
        if key and key not in names:
            raise ValueError(f"{unit.file}: no column {key!r}, has {sorted(names)}")
    for row in rows(unit):
        if isinstance(row, Reject):
            yield row
            continue
        try:
            yield from convert(row, settings)
        except Bad as bad:
            yield Reject(unit.file, row.number, bad.reason, bad.detail, "record")


def rows(unit: Unit) -> Iterator[Record | Reject]:
    """Rows `start` to `stop`, numbered from `first`; a broken row group is one reject.

    Rows before `start` are decoded and left only in its own row group.
    """
    with _opened(unit.file) as file:
        begin = 0
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            if begin < unit.stop and end > unit.start:
                yield from _of_group(file, unit, group, begin)
            begin = end


def is_text(kind: Any) -> bool:
    """Whether a column holds texts."""
    return str(kind) in ("string", "large_string", "string_view")


def members(kind: Any) -> dict[str, Any]:
    """The types of a struct's members by name, also of a list of structs."""
    inner = getattr(kind, "value_type", kind)
    return {f.name: f.type for f in inner} if str(inner).startswith("struct<") else {}


def is_list(kind: Any) -> bool:
    """Whether a column holds lists."""
    return "list<" in str(kind).partition(" ")[0]


def _of_group(
    file: Any, unit: Unit, group: int, begin: int
) -> Iterator[Record | Reject]:
    """The unit's rows in one row group, whose first row is number `begin` of all."""
    row = begin
    try:
        for batch in file.iter_batches(_batch_size(file), row_groups=[group]):
            if row >= unit.stop:
                return
            low, high = max(unit.start - row, 0), unit.stop - row
            first = unit.first + row + low - unit.start
            if low < batch.num_rows:
                yield from _of_batch(unit, batch.slice(low, max(high - low, 0)), first)
            row += batch.num_rows
    except (OSError, ValueError, NotImplementedError) as error:  # all of pyarrow's
        number = unit.first + max(row, unit.start) - unit.start
        detail = f"row group {group}, from row {number}: {error}"
        yield Reject(unit.file, number, "broken_file", detail, "rest of row group")


def _of_batch(unit: Unit, batch: Any, first: int) -> Iterator[Record | Reject]:
    try:
        values = batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            yield Reject(unit.file, first, "not_utf8", str(error), "record")
            return
        for i in range(batch.num_rows):
            yield from _of_batch(unit, batch.slice(i, 1), first + i)
        return
    for number, fields in enumerate(values, start=first):
        yield Record(unit, number, fields)


def _batch_size(file: Any) -> int:
    return _BATCH_IMAGES if "binary" in str(file.schema_arrow) else _BATCH_ROWS


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    """The ParquetFile; ValueError where pyarrow is missing or can't read its footer."""
    try:
        pyarrow_parquet = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ValueError(
            "pyarrow is not installed: run  pip install 'mmjax[prepare]'"
        ) from error
    try:
        file = pyarrow_parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    except (OSError, ValueError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{path}: not a whole parquet file ({told})") from error
    with file:
        yield file

"""Plain text in parquet: {text}, each row a document (C4, FineWeb, Wikipedia...)."""

import pathlib
from collections.abc import Iterator

from data_pipelines.prepare.formats import fields, parquet, url_parquet
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.raw import Raw, Reject, Unit
from data_pipelines.records import Text

_KEYS = ("text", "content")
_PICTURES = ("image", "images", "image_url")


def convert(record: Record, settings: Settings) -> Iterator[Raw | Reject]:
    """The text of a row; raises Bad where there is none."""
    keys = (settings.text_key,) if settings.text_key else _KEYS
    key = next((k for k in keys if k in record.fields), keys[0])
    text = record.fields.get(key)
    if not isinstance(text, str):
        raise Bad("missing_field", f"needs a {key}")
    if not text.strip():
        raise Bad("empty_text", "no text in the document")
    document = (Text(fields.clean(text.strip("\r\n"))),)
    yield fields.raw(record, (document,), (key,))


def _sniff(path: pathlib.Path) -> bool:
    kinds = parquet.columns(path)
    key = next((k for k in _KEYS if k in kinds), "")
    if not key or not parquet.is_text(kinds[key]):
        return False
    shown = any(name in kinds for name in _PICTURES)
    return not shown and not url_parquet.FORMAT.sniff(path)


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return parquet.units(path, folder, "text_parquet")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return parquet.read(unit, settings, convert)


FORMAT = Format(parquet.SUFFIXES, _sniff, _units, _read)

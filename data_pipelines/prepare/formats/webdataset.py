"""Captions in tars: img2dataset's, CC12M's, LAION's, DataComp's.

    000000000.jpg  000000000.txt  000000000.json {"url", "caption", "status", ...}

The caption is the txt, or a field of the json; a list there is several captions.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import captions as captions_lib
from data_pipelines.prepare.formats import fields, tars, wordings
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.formats.tars import Sample
from data_pipelines.prepare.raw import Part, Raw, Reject, Unit

_TEXTS = ("txt", "caption", "text")  # members
_FIELDS = ("caption", "captions", "text", "TEXT")  # of the json
_BOOKS = ("key", "status", "error_message")  # what the downloader notes for itself


def convert(
    record: Record, sample: Sample, settings: Settings
) -> Iterator[Raw | Reject]:
    """A picture and each of its captions, as documents of one Raw; raises Bad."""
    values = _values(sample)
    status = values.get("status")
    if status not in (None, "success"):
        detail = f"status {status!r}: {values.get('error_message')}"
        raise Bad("not_downloaded", detail)
    shown = tars.picture(sample, settings)
    if shown is None:
        raise Bad("missing_image", f"has {sorted(sample.members)}, no picture")
    captions = _captions(sample, values, settings)
    other = wordings.key(values, settings)
    told = record._replace(fields=values)
    documents: list[tuple[Part, ...]] = []
    before = f"key {sample.key}: "
    yield from captions_lib.tell(told, shown, captions, other, documents, before=before)
    if "cls" in sample.members:
        values = {**values, "cls": tars.text(sample, "cls").strip()}
    meta = {"key": sample.key}
    named = record._replace(fields=values)
    if documents:
        used = (*_FIELDS, *_BOOKS, settings.text_key, other)
        yield fields.raw(named, documents, used, meta)


def _values(sample: Sample) -> dict[str, Any]:
    values = tars.parse(sample)
    if values is not None and not isinstance(values, dict):
        raise Bad("malformed_json", f"{type(values).__name__} instead of an object")
    return values or {}


def _captions(sample: Sample, values: dict[str, Any], settings: Settings) -> list:
    """The captions, as the user, the txt, the json or a class's name give them."""
    key = settings.text_key
    for name in [key] if key else _TEXTS:
        if name in sample.members:
            return [tars.text(sample, name)]
    for name in [key] if key else _FIELDS:
        if name in values:
            given = values[name]
            return given if isinstance(given, list) and given else [given]
    name = tars.text(sample, "cls").strip() if "cls" in sample.members else ""
    if name and not key and not name.isdecimal():
        return [name]
    has = sorted({*sample.members, *(f"json[{name}]" for name in values)})
    rule = "a class's number is no caption" if name else f"has {has}"
    raise Bad("missing_field", f"needs {key or 'txt or json[caption]'}: {rule}")


def _sniff(path: pathlib.Path) -> bool:
    sample = tars.first(path)
    if sample is None or tars.picture(sample, Settings()) is None:
        return False
    if any(name in sample.members for name in (*_TEXTS, "cls")):
        return True
    try:
        return any(name in _values(sample) for name in _FIELDS)
    except Bad:
        return False


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return tars.units(path, folder, "webdataset")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return tars.read(unit, settings, convert)


FORMAT = Format(tars.SUFFIXES, _sniff, _units, _read)

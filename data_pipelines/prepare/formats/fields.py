"""Fields of a record: parsed, checked, and what nobody asked for put aside."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgpack

from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.raw import Part, Raw, Reject, Unit

_EVERYWHERE = ("licence", "license", "url")  # fields that Raw has a place for


class Bad(Exception):  # noqa: N818
    """A record that can't be used, and why."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Record(NamedTuple):
    """The fields of one record, and where it stands."""

    unit: Unit
    number: int
    fields: dict[str, Any]


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object that the bytes are; raises Bad."""
    try:
        fields = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Bad("not_utf8", str(error)) from error
    except (ValueError, RecursionError) as error:
        raise Bad("malformed_json", str(error)) from error
    if not isinstance(fields, dict):
        raise Bad("malformed_json", f"{type(fields).__name__} instead of an object")
    return fields


def clean(text: str) -> str:
    """The text, if UTF-8 can hold it (JSON may hold half a character); or Bad."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Bad("not_utf8", str(error)) from error
    return text


def absent(value: Any) -> bool:
    """Whether a field holds nothing; pandas writes NaN for that."""
    return value is None or value != value or value in ("", [], {})


def reject(record: Record, bad: Bad, lost: str = "record") -> Reject:
    """What is told of something bad in the record."""
    return Reject(record.unit.file, record.number, bad.reason, bad.detail, lost)


def lost_picture(record: Record, bad: Bad, settings: Settings) -> Reject:
    """The reject of one picture of several, as `missing_image` says.

    Raises Bad where the document is to be dropped, ValueError where all is to stop.
    """
    if settings.missing_image == "error":
        where = f"{record.unit.file}: record {record.number}"
        raise ValueError(f"{where}: {bad.reason}: {bad.detail}")
    if settings.missing_image == "drop":
        raise bad
    return reject(record, bad, "image")


def raw(
    record: Record,
    documents: Iterable[tuple[Part, ...]],
    used: Iterable[str],
    meta: dict[str, Any] | None = None,
    url: str = "",
) -> Raw:
    """The Raw of a record of which the fields `used` are in the documents.

    All other fields go into `meta`, numbers and texts into `scores` too.
    """
    fields = record.fields
    known = {*used, *_EVERYWHERE}
    left = {k: v for k, v in fields.items() if k not in known and not absent(v)}
    extra = {str(_storable(k)): _storable(v) for k, v in (left | (meta or {})).items()}
    return Raw(
        record.unit.file,
        record.number,
        tuple(documents),
        record.unit.folder,
        _label(fields.get("licence") or fields.get("license")),
        _label(fields.get("url") or url),
        {k: v for k, v in extra.items() if _is_score(v)},
        extra,
    )


def _label(value: Any) -> str:
    return "" if absent(value) else str(_storable(str(value)))


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _storable(value: Any) -> Any:
    """The value, or its ASCII form where a record can't hold it."""
    try:
        msgpack.packb(value)
    except (TypeError, ValueError, OverflowError):
        return ascii(value)
    return value

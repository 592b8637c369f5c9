"""Chat messages: {messages: [{role, content}], images}, as OpenAI, HF and others do.

A content is a text with <image> tags, or a list of parts: texts, and images that say
what they show or wait, in order, for the row's `images`.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import (
    fields,
    json_records,
    llava,
    pictures,
    turns,
)
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.formats.turns import Turn
from data_pipelines.prepare.raw import Picture, Raw, Reject, Unit

_TEXTS = ("text", "input_text", "output_text")
_IMAGES = ("image", "image_url", "input_image")
_SHOWN = ("image", "path", "url", "image_url", "bytes", "base64")


def messages(values: Any) -> list[Turn]:
    """The turns of a list of {role, content}; raises Bad."""
    if not isinstance(values, list) or not values:
        raise Bad("missing_field", "needs a list of messages")
    found = []
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise Bad("missing_field", f"message {number}: {str(value)[:80]!r}")
        try:
            content = _content(value.get("content"))
        except Bad as bad:
            raise Bad(bad.reason, f"message {number}: {bad.detail}") from bad
        found.append(Turn(turns.role(value.get("role")), content))
    return found


def _content(content: Any) -> tuple[str | Picture, ...]:
    if isinstance(content, str):
        return (content,)
    if not isinstance(content, list):
        raise Bad("missing_field", "needs a content, a text or a list of parts")
    return tuple(_part(part) for part in content)


def _part(part: Any) -> str | Picture:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXTS:
        if not isinstance(part.get("text"), str):
            raise Bad("missing_field", "a part of type text needs a text")
        return part["text"]
    if kind in _IMAGES:
        shown = {k: part[k] for k in _SHOWN if not fields.absent(part.get(k))}
        if not shown:
            return turns.IMAGE
        image = shown.get("image")
        return pictures.picture(image if isinstance(image, dict) else shown)
    rule = f"must be one of {', '.join((*_TEXTS, *_IMAGES))}"
    raise Bad("unsupported_media", f"a part of type {str(kind)[:40]!r}: {rule}")


def _convert(record: Record, settings: Settings) -> Iterator[Raw | Reject]:
    values = record.fields
    keys = (settings.image_key,) if settings.image_key else ("image", "images")
    try:
        llava.check(values)
        found = llava.with_system(values.get("system"), messages(values["messages"]))
        listed = [p for key in keys for p in pictures.pictures(values.get(key))]
        shown = _not_shown(found, listed)
        parts = turns.render(turns.bind(found, shown))
    except Bad as bad:
        raise llava.named(record, bad) from bad
    except KeyError as error:
        raise Bad("missing_field", "needs a list of messages") from error
    yield fields.raw(record, (parts,), ("messages", "system", *keys))


def _not_shown(found: list[Turn], listed: list[Picture]) -> list[Picture]:
    """The row's pictures; none, where parts name all of them already."""
    named = [p for turn in found for p in turn.content if isinstance(p, Picture)]
    return [] if named and all(picture in named for picture in listed) else listed


def _sniff(path: pathlib.Path) -> bool:
    return isinstance(json_records.first(path).get("messages"), list)


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return json_records.units(path, folder, "chat")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return json_records.read(unit, settings, _convert)


FORMAT = Format(json_records.SUFFIXES, _sniff, _units, _read)

"""Conversations in parquet: LLaVA-OneVision, Nemotron, TRL and their like.

{id, image: {bytes, path}, conversations: [{from, value}], data_source}
{images: [{bytes, path}], messages: [{role, content}]}
{image, prompt: [{role, content}], completion: [{role, content}]}
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import (
    chat,
    fields,
    llava,
    parquet,
    pictures,
    turns,
)
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.formats.turns import Turn
from data_pipelines.prepare.raw import Picture, Raw, Reject, Unit

_IMAGES = ("image", "images")
_SHAPES = (("conversations",), ("messages",), ("prompt", "completion"))


def convert(record: Record, settings: Settings) -> Iterator[Raw | Reject]:
    """One conversation; raises Bad."""
    values = record.fields
    keys = (settings.image_key,) if settings.image_key else _IMAGES
    try:
        llava.check(values)
        found, used = _turns(values)
        found = llava.with_system(values.get("system"), found)
        listed = [p for key in keys for p in pictures.pictures(values.get(key))]
        parts = turns.render(turns.bind(found, _waiting(found, listed)))
    except Bad as bad:
        raise llava.named(record, bad) from bad
    yield fields.raw(record, (parts,), (*used, "system", *keys))


def _turns(values: dict[str, Any]) -> tuple[list[Turn], tuple[str, ...]]:
    """The turns, and the columns that hold them."""
    for shape in _SHAPES:
        if all(isinstance(values.get(key), list) for key in shape):
            said = [message for key in shape for message in values[key]]
            listed = shape == ("conversations",)
            return (llava.conversation if listed else chat.messages)(said), shape
    names = ", or ".join(" and ".join(shape) for shape in _SHAPES)
    raise Bad("missing_field", f"needs lists of {names}")


def _waiting(found: list[Turn], listed: list[Picture]) -> list[Picture]:
    """The row's pictures, but for those that parts of the messages show already."""
    named = [p for turn in found for p in turn.content if isinstance(p, Picture)]
    return [picture for picture in listed if picture not in named]


def _sniff(path: pathlib.Path) -> bool:
    kinds = parquet.columns(path)
    return any(
        all(key in kinds and parquet.is_list(kinds[key]) for key in shape)
        for shape in _SHAPES
    )


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return parquet.units(path, folder, "chat_parquet")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return parquet.read(unit, settings, convert)


FORMAT = Format(parquet.SUFFIXES, _sniff, _units, _read)

"""Conversations in tars, as Megatron Energon and VILA keep them.

    {id}.jpg  {id}.json: [{from, value}], or {conversations: [...]}

A sample without a picture is a conversation in words.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import chat, fields, llava, tars, turns
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.formats.tars import Sample
from data_pipelines.prepare.formats.turns import Turn
from data_pipelines.prepare.raw import Raw, Reject, Unit

_USED = ("conversations", "messages", "system", "image", "images")


def convert(
    record: Record, sample: Sample, settings: Settings
) -> Iterator[Raw | Reject]:
    """One conversation; raises Bad."""
    values = _values(sample)
    if settings.text_key:
        values = {**values, "conversations": values.get(settings.text_key)}
    llava.check(values)
    shown = tars.picture(sample, settings)
    found = llava.with_system(values.get("system"), _turns(values))
    parts = turns.render(turns.bind(found, [shown] if shown else []))
    named = record._replace(fields=values)
    meta = {"key": sample.key}
    yield fields.raw(named, (parts,), (*_USED, settings.text_key), meta)


def _values(sample: Sample) -> dict[str, Any]:
    values = tars.parse(sample)
    if isinstance(values, list):
        return {"conversations": values}
    if not isinstance(values, dict):
        raise Bad("missing_field", f"needs a json, has {sorted(sample.members)}")
    return values


def _turns(values: dict[str, Any]) -> list[Turn]:
    if isinstance(values.get("messages"), list):
        return chat.messages(values["messages"])
    return llava.conversation(values.get("conversations"))


def _sniff(path: pathlib.Path) -> bool:
    sample = tars.first(path)
    try:
        values = _values(sample) if sample else {}
    except Bad:
        return False
    return any(isinstance(values.get(key), list) for key in _USED[:2])


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return tars.units(path, folder, "chat_tars")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return tars.read(unit, settings, convert)


FORMAT = Format(tars.SUFFIXES, _sniff, _units, _read)

"""Alpaca rows: {instruction, input, output}, with LLaMA-Factory's further columns.

These are `system`, `history`, earlier [question, answer] pairs, and `images`.
"""

import pathlib
from collections.abc import Iterator

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
from data_pipelines.prepare.raw import Raw, Reject, Unit

_TEXTS = ("instruction", "input", "output")


def _pairs(record: Record) -> list[tuple[str, str]]:
    """Questions and answers, the earlier ones first."""
    values = [record.fields.get(key) or "" for key in _TEXTS]
    if not all(isinstance(value, str) for value in values):
        raise Bad("missing_field", f"{', '.join(_TEXTS)} must be texts")
    history = record.fields.get("history") or []
    for pair in history if isinstance(history, list) else [history]:
        whole = isinstance(pair, list) and len(pair) == 2
        if not whole or not all(isinstance(text, str) for text in pair):
            raise Bad("missing_field", f"history {str(pair)[:80]!r}: no pair of texts")
    question = "\n".join(filter(None, values[:2]))
    return [*(tuple(pair) for pair in history), (question, values[2])]


def _convert(record: Record, settings: Settings) -> Iterator[Raw | Reject]:
    values = record.fields
    keys = (settings.image_key,) if settings.image_key else ("image", "images")
    user, assistant = turns.ROLES["user"], turns.ROLES["assistant"]
    try:
        llava.check(values)
        found = [
            turn
            for question, answer in _pairs(record)
            for turn in (Turn(user, (question,)), Turn(assistant, (answer,)))
        ]
        found = llava.with_system(values.get("system"), found)
        shown = [p for key in keys for p in pictures.pictures(values.get(key))]
        parts = turns.render(turns.bind(found, shown))
    except Bad as bad:
        raise llava.named(record, bad) from bad
    yield fields.raw(record, (parts,), (*_TEXTS, "system", "history", *keys))


def _sniff(path: pathlib.Path) -> bool:
    return {"instruction", "output"} <= set(json_records.first(path))


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return json_records.units(path, folder, "alpaca")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return json_records.read(unit, settings, _convert)


FORMAT = Format(json_records.SUFFIXES, _sniff, _units, _read)

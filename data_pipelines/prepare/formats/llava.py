"""Conversations as LLaVA keeps them: {id, image, conversations: [{from, value}]}.

Also LLaMA-Factory's "sharegpt" rows (`images`, `system`), and the rows of any-to-any
models, where an assistant shows a picture (`input_image`, `output_image`).
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import fields, json_records, pictures, turns
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.formats.turns import Turn
from data_pipelines.prepare.raw import Picture, Raw, Reject, Unit

_INPUTS, _OUTPUT = ("image", "images", "input_image"), "output_image"
_UNSUPPORTED = tuple(
    f"{side}{medium}"
    for medium in ("video", "videos", "audio", "audios")
    for side in ("", "input_", "output_")
)
_COMPARED = ("chosen", "rejected")  # answers, of data for DPO
_MARKS = ("label", "kto_tag")  # of an answer, of data for KTO


def check(values: dict[str, Any]) -> None:
    """Raises Bad where the record has a video or sound, or compares answers."""
    for key in _UNSUPPORTED:
        if not fields.absent(values.get(key)):
            raise Bad("unsupported_media", f"{key} {str(values[key])[:80]}")
    if all(not fields.absent(values.get(key)) for key in _COMPARED):
        rule = "a record that compares answers is none to learn them from"
        raise Bad("preferences", f"has {' and '.join(_COMPARED)}: {rule}")
    for key in _MARKS:
        if values.get(key) is False:
            raise Bad("preferences", f"{key} is false: the answer is a bad one")


def conversation(values: Any) -> list[Turn]:
    """The turns of a list of {from, value}, or {role, content}; raises Bad."""
    if not isinstance(values, list) or not values:
        raise Bad("missing_field", "needs a list of conversations")
    found = []
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise Bad("missing_field", f"turn {number}: {str(value)[:80]!r}")
        said = value.get("value", value.get("content"))
        if not isinstance(said, str):
            raise Bad("missing_field", f"turn {number}: needs a value, a text")
        found.append(Turn(turns.role(value.get("from", value.get("role"))), (said,)))
    return found


def with_system(system: Any, found: list[Turn]) -> list[Turn]:
    """The turns behind a system's text, if that is one."""
    said = isinstance(system, str) and system.strip()
    return [Turn(turns.ROLES["system"], (system,)), *found] if said else found


def named(record: Record, bad: Bad) -> Bad:
    """The same complaint with the record's id, by which its owner knows it."""
    identity = record.fields.get("id")
    return bad if identity is None else Bad(bad.reason, f"id {identity}: {bad.detail}")


def _convert(record: Record, settings: Settings) -> Iterator[Raw | Reject]:
    values = record.fields
    keys = (settings.image_key,) if settings.image_key else _INPUTS
    try:
        check(values)
        found = conversation(values.get("conversations"))
        if _answers_first(found):
            bad = Bad("leading_answer", "the first turn is an assistant's")
            yield fields.reject(record, named(record, bad), "first turn")
            found = _without_first_answers(found)
        found = with_system(values.get("system"), found)
        inputs = [p for k in keys for p in pictures.pictures(values.get(k))]
        shown = pictures.pictures(values.get(_OUTPUT))
        bound = _bind_sides(found, inputs, shown) if shown else None
        parts = turns.render(bound or turns.bind(found, inputs))
    except Bad as bad:
        raise named(record, bad) from bad
    yield fields.raw(record, (parts,), ("conversations", "system", _OUTPUT, *keys))


def _answers_first(found: list[Turn]) -> bool:
    """Whether an assistant speaks before any user, as LLaVA's loader drops it."""
    spoken = [t.role for t in found if t.role is not turns.ROLES["system"]]
    return bool(spoken) and spoken[0] is turns.ROLES["gpt"]


def _without_first_answers(found: list[Turn]) -> list[Turn]:
    users = [i for i, turn in enumerate(found) if turn.role is turns.ROLES["user"]]
    if not users:
        raise Bad("empty_text", "no turn of a user")
    system = [t for t in found[: users[0]] if t.role is turns.ROLES["system"]]
    return [*system, *found[users[0] :]]


def _bind_sides(
    found: list[Turn], inputs: list[Picture], shown: list[Picture]
) -> list[Turn]:
    """An assistant's tags are for what it shows; without one it shows that last."""
    answers = [i for i, turn in enumerate(found) if turn.role.loss]
    others = [i for i in range(len(found)) if i not in answers]
    if not answers:
        raise Bad("empty_text", "no turn of an assistant")
    said = [found[i] for i in answers]
    if not any(turns.IMAGE in text for turn in said for text in turn.content):
        last = said[-1]
        said[-1] = last._replace(content=(*last.content, turns.IMAGE * len(shown)))
    bound = dict(zip(answers, turns.bind(said, shown)))
    bound |= dict(zip(others, turns.bind([found[i] for i in others], inputs)))
    return [bound[i] for i in range(len(found))]


def _sniff(path: pathlib.Path) -> bool:
    return isinstance(json_records.first(path).get("conversations"), list)


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return json_records.units(path, folder, "llava")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return json_records.read(unit, settings, _convert)


FORMAT = Format(json_records.SUFFIXES, _sniff, _units, _read)

"""Fields of records under the names that a corpus's own description gives them."""

from typing import Any

from data_pipelines.prepare.formats.fields import Bad
from data_pipelines.prepare.raw import Columns

# Fields of conversations that readers know: what isn't named is not there.
_KNOWN = (
    "conversations", "messages", "instruction", "input", "output", "history", "system",
    "image", "images", "input_image", "output_image",
)  # fmt: skip
_TURNS = ("conversations", "messages")


def renamed(values: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """The record under the names that its format knows; raises Bad.

    Fields that `columns` doesn't name go along, unless they'd be taken for others.
    """
    if not columns.fields:
        return values
    theirs = {their for their, _ in columns.fields}
    found = {k: v for k, v in values.items() if k not in theirs and k not in _KNOWN}
    for their, our in columns.fields:
        if our in _TURNS:
            found[our] = _turns(values.get(their), their, columns)
        elif their in values:
            found[our] = values[their]
    return found


def _turns(said: Any, name: str, columns: Columns) -> list[dict[str, Any]]:
    if not isinstance(said, list) or not said:
        raise Bad("missing_field", f"needs {name}, a list of turns")
    roles = dict(columns.roles)
    turns = []
    for number, turn in enumerate(said, start=1):
        for their, _ in columns.turn:
            if not isinstance(turn, dict) or their not in turn:
                raise Bad("missing_field", f"{name}: turn {number} needs {their}")
        values = {our: turn[their] for their, our in columns.turn}
        who = columns.turn[0][1]  # the role comes first
        known = isinstance(values[who], str) and roles.get(values[who])
        turns.append(values | {who: known or values[who]})
    return turns

"""How a conversation becomes a document: the only place that knows the wording.

    SYSTEM TEXT
    USER: [picture]
    What is this?
    ASSISTANT: A dog.
    USER: ...

Only what an assistant says is predicted (its leading space included); the rest is
context. Instruction formats turn their records into `Turn`s, pictures bound to tags.
"""

from collections.abc import Sequence
from typing import NamedTuple

from data_pipelines.prepare.formats import fields
from data_pipelines.prepare.formats.fields import Bad
from data_pipelines.prepare.raw import Part, Picture
from data_pipelines.records import Text

IMAGE = "<image>"  # in a text: a picture stands here


class Role(NamedTuple):
    """How the turns of a role are shown."""

    label: str  # without its colon; empty: the text alone
    loss: bool  # whether its text is predicted


_SYSTEM, _TOOL = Role("", False), Role("TOOL", False)
_USER, _ASSISTANT = Role("USER", False), Role("ASSISTANT", True)

ROLES = {
    "system": _SYSTEM,
    "developer": _SYSTEM,
    "human": _USER,
    "user": _USER,
    "gpt": _ASSISTANT,
    "assistant": _ASSISTANT,
    "model": _ASSISTANT,
    "function_call": _ASSISTANT,
    "observation": _TOOL,
    "tool": _TOOL,
    "function": _TOOL,
}


class Turn(NamedTuple):
    """What one side says; IMAGE in a text waits for a picture."""

    role: Role
    content: tuple[str | Picture, ...]


def role(name: object) -> Role:
    """The role of this name; raises Bad."""
    if not isinstance(name, str) or name.lower() not in ROLES:
        rule = f"must be one of {', '.join(ROLES)}"
        raise Bad("unknown_role", f"role {str(name)[:80]!r}: {rule}")
    return ROLES[name.lower()]


def bind(turns: Sequence[Turn], pictures: Sequence[Picture]) -> list[Turn]:
    """The turns with each tag replaced by its picture, in order.

    Where nothing says where pictures are, they come first in the first turn of a user.
    Raises Bad where the tags and the pictures aren't as many.
    """
    tags = sum(_tags(turn) for turn in turns)
    shown = any(isinstance(piece, Picture) for turn in turns for piece in turn.content)
    if not tags and pictures and not shown:
        return _prepended(turns, pictures)
    if tags != len(pictures):
        reason = "too_many_tags" if tags > len(pictures) else "too_few_tags"
        raise Bad(reason, f"{tags} {IMAGE} for {len(pictures)} pictures")
    left = iter(pictures)
    bound = []
    for turn in turns:
        content: list[str | Picture] = []
        for piece in turn.content:
            texts = piece.split(IMAGE) if isinstance(piece, str) else [piece]
            content.append(texts[0])
            for text in texts[1:]:
                content += [next(left), text]
        bound.append(turn._replace(content=tuple(content)))
    return bound


def render(turns: Sequence[Turn]) -> tuple[Part, ...]:
    """The document of turns whose tags are bound; raises Bad where no one answers."""
    parts: list[Part] = []
    for number, turn in enumerate(turns, start=1):
        content = _stripped(turn.content)
        if turn.role.loss and not content:
            raise Bad("empty_text", f"turn {number}, an assistant's, is empty")
        label = f"{turn.role.label}:" if turn.role.label else ""
        _add(parts, "\n" * bool(parts) + label, False)
        if label and content and isinstance(content[0], str):
            _add(parts, " ", turn.role.loss)
        for piece in content:
            if isinstance(piece, str):
                _add(parts, fields.clean(piece), turn.role.loss)
            else:
                parts.append(piece)
    if not any(turn.role.loss for turn in turns):
        raise Bad("empty_text", "no turn of an assistant")
    return tuple(parts)


def _tags(turn: Turn) -> int:
    return sum(piece.count(IMAGE) for piece in turn.content if isinstance(piece, str))


def _prepended(turns: Sequence[Turn], pictures: Sequence[Picture]) -> list[Turn]:
    users = (i for i, turn in enumerate(turns) if turn.role is _USER)
    at = next(users, 0)
    if not turns:
        raise Bad("missing_field", "a conversation without turns")
    content = (*pictures, "\n", *turns[at].content)
    return [*turns[:at], turns[at]._replace(content=content), *turns[at + 1 :]]


def _stripped(content: Sequence[str | Picture]) -> list[str | Picture]:
    """The content without white space at its ends, nor empty texts."""
    pieces = list(content)
    while pieces and isinstance(pieces[0], str):
        pieces[0] = pieces[0].lstrip()
        if pieces[0]:
            break
        del pieces[0]
    while pieces and isinstance(pieces[-1], str):
        pieces[-1] = pieces[-1].rstrip()
        if pieces[-1]:
            break
        del pieces[-1]
    return [piece for piece in pieces if piece != ""]


def _add(parts: list[Part], text: str, loss: bool) -> None:
    """Adds a text, to the last one if that is alike."""
    last = parts[-1] if parts else None
    if isinstance(last, Text) and last.loss == loss:
        parts[-1] = last._replace(text=last.text + text)
    elif text:
        parts.append(Text(text, loss))

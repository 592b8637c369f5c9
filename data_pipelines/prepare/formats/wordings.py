"""Captions that come with another wording beside them, by a model (VeCap)."""

from collections.abc import Iterator, Sequence
from typing import Any

from data_pipelines.prepare.formats import fields
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.raw import Reject

KEYS = ("synthetic", "synthetic_caption", "synthetic_captions", "recaption")


def key(values: dict[str, Any], settings: Settings) -> str:
    """The field that holds other wordings; empty where there is none.

    A field that a user doesn't name counts only where it can be that: some corpora
    have a `synthetic` that is true or false.
    """
    if settings.synthetic_key:
        return settings.synthetic_key if settings.synthetic_key in values else ""
    return next((name for name in KEYS if _is_texts(values.get(name))), "")


def of_captions(value: Any, captions: Sequence[Any]) -> list[str]:
    """The other wording of each caption; empty where there is none.

    One text is that of every caption; a list has one, or null, for each. Raises Bad
    where it can't be either.
    """
    if fields.absent(value):
        return [""] * len(captions)
    if isinstance(value, str):
        return [fields.clean(value.strip())] * len(captions)
    if not isinstance(value, list) or not _is_texts(value):
        detail = f"{str(value)[:80]!r} is no text, or list of texts"
        raise Bad("bad_synthetic", detail)
    if len(value) != len(captions):
        detail = f"{len(value)} other wordings of {len(captions)} captions"
        raise Bad("bad_synthetic", detail)
    return [fields.clean((text or "").strip()) for text in value]


def found(
    record: Record, name: str, captions: Sequence[Any], into: list[str]
) -> Iterator[Reject]:
    """Puts the other wording of each caption into a list; tells those that are lost.

    What is wrong with them costs no caption.
    """
    try:
        into += of_captions(record.fields.get(name), captions)
    except Bad as bad:
        into += [""] * len(captions)
        yield fields.reject(record, bad, "wording")


def _is_texts(value: Any) -> bool:
    if isinstance(value, list):
        return all(one is None or isinstance(one, str) for one in value)
    return isinstance(value, str)

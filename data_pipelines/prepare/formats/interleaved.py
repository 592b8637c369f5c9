"""Interleaved documents: {texts, images}, parallel lists in reading order.

At each position one of the two is null. OBELICS and MINT-1T have this shape, too; its
`metadata` and `general_metadata` are JSON inside of strings.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import fields, json_records, pictures
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.raw import Part, Raw, Reject, Unit
from data_pipelines.records import Text

_META = ("metadata", "general_metadata")


def convert(record: Record, settings: Settings) -> Iterator[Raw | Reject]:
    """The document; a position whose image names nothing is lost alone."""
    keys = settings.text_key or "texts", settings.image_key or "images"
    meta = {key: _unpacked(record.fields.get(key)) for key in _META}
    urls = _urls(meta["metadata"])
    parts: list[Part] = []
    for position, (text, image) in enumerate(_aligned(record, *keys)):
        if image is None:
            _add(parts, text)
            continue
        try:
            shown = pictures.picture(image)
            parts.append(shown._replace(url=shown.url or urls.get(position, "")))
        except Bad as bad:
            detailed = Bad(bad.reason, f"position {position}: {bad.detail}")
            yield fields.lost_picture(record, detailed, settings)
    if not any(isinstance(part, Text) for part in parts):
        raise Bad("empty_text", "no text in the document")
    kept = {key: value for key, value in meta.items() if not fields.absent(value)}
    yield fields.raw(record, (tuple(parts),), (*keys, *_META), kept, _page(meta))


def _aligned(record: Record, texts_key: str, images_key: str) -> list[tuple[Any, Any]]:
    """Pairs of which one is None."""
    texts, images = record.fields.get(texts_key), record.fields.get(images_key)
    if not isinstance(texts, list) or not isinstance(images, list):
        raise Bad("missing_field", f"needs the lists {texts_key} and {images_key}")
    if len(texts) != len(images):
        raise Bad("misaligned", f"{len(texts)} texts but {len(images)} images")
    for position, (text, image) in enumerate(zip(texts, images)):
        if (text is None) == (image is None):
            rule = "exactly one of text and image must be null"
            raise Bad("misaligned", f"position {position}: {rule}")
        if text is not None and not isinstance(text, str):
            kind = type(text).__name__
            raise Bad("misaligned", f"position {position}: a {kind} as text")
    return list(zip(texts, images))


def _add(parts: list[Part], text: str) -> None:
    """Adds a text; texts that follow each other become one, as paragraphs."""
    if not text.strip():
        return
    last = parts[-1] if parts else None
    if isinstance(last, Text):
        parts[-1] = Text(f"{last.text}\n\n{fields.clean(text)}")
    else:
        parts.append(Text(fields.clean(text)))


def _unpacked(value: Any) -> Any:
    """The value that a string of JSON holds; otherwise the value itself."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _urls(metadata: Any) -> dict[int, str]:
    """Where OBELICS found the image of each position."""
    entries = metadata if isinstance(metadata, list) else []
    sources = {i: e.get("src") for i, e in enumerate(entries) if isinstance(e, dict)}
    return {i: s for i, s in sources.items() if isinstance(s, str) and s.isascii()}


def _page(meta: dict[str, Any]) -> str:
    general = meta["general_metadata"]
    url = general.get("url") if isinstance(general, dict) else None
    return url if isinstance(url, str) else ""


def _sniff(path: pathlib.Path) -> bool:
    values = json_records.first(path)
    texts, images = values.get("texts"), values.get("images")
    if not isinstance(texts, list) or not isinstance(images, list):
        return False
    return all(isinstance(text, str | None) for text in texts)


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return json_records.units(path, folder, "interleaved")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return json_records.read(unit, settings, convert)


FORMAT = Format(json_records.SUFFIXES, _sniff, _units, _read)

"""Captions as JSON: lines or a list of {image, caption or captions}.

Covers LAVIS lists (`caption` may be a list), {id, image_name, caption} pairs and the
metadata.jsonl of image folders ({file_name, text}). Another wording may stand beside a
caption (`wordings`). Tables and parquet share `convert`.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import fields, json_records, pictures, wordings
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.raw import Part, Picture, Raw, Reject, Unit
from data_pipelines.records import Text

IMAGE_KEYS = ("image", "filepath", "file_name", "image_name", "image_path")
TEXT_KEYS = ("captions", "caption", "title")


def keys(names: dict[str, Any], settings: Settings) -> tuple[str, str]:
    """The names of the image and of the text; empty where there is none."""
    image = settings.image_key or next((k for k in IMAGE_KEYS if k in names), "")
    # Elsewhere a "text" may be a question, as in POPE.
    texts = (*TEXT_KEYS, "text") if image == "file_name" else TEXT_KEYS
    text = settings.text_key or next((k for k in texts if k in names), "")
    return (image if image in names else ""), (text if text in names else "")


def convert(record: Record, settings: Settings) -> Iterator[Raw | Reject]:
    """A picture and each of its captions, as documents of one Raw."""
    image, text = keys(record.fields, settings)
    if not image:
        wanted = settings.image_key or " or ".join(IMAGE_KEYS)
        raise Bad("missing_field", f"needs {wanted}, has {sorted(record.fields)}")
    captions = record.fields.get(text)
    captions = [captions] if isinstance(captions, str) else captions
    if not isinstance(captions, list) or not captions:
        wanted = settings.text_key or " or ".join(TEXT_KEYS)
        raise Bad("missing_field", f"needs {wanted}: a text, or a list of texts")
    shown = pictures.picture(record.fields[image])
    other = wordings.key(record.fields, settings)
    behind = f" of {str(record.fields[image])[:80]}"
    documents: list[tuple[Part, ...]] = []
    yield from tell(record, shown, captions, other, documents, behind=behind)
    if documents:
        yield fields.raw(record, documents, (image, text, other))


def tell(
    record: Record,
    shown: Picture,
    captions: list[Any],
    other: str,
    documents: list[tuple[Part, ...]],
    before: str = "",
    behind: str = "",
) -> Iterator[Reject]:
    """Adds a document for each caption; yields what is wrong with the others.

    `other` is the field of synthetic wordings; `before` and `behind` stand around what
    is told of a caption.
    """
    synthetic: list[str] = []
    yield from wordings.found(record, other, captions, synthetic)
    for caption, wording in zip(captions, synthetic):
        if isinstance(caption, str) and caption.strip():
            words = Text(fields.clean(caption.strip()), synthetic=wording)
            documents.append((shown, words))
        else:
            bad = Bad("empty_caption", f"{before}caption {str(caption)[:80]!r}{behind}")
            yield fields.reject(record, bad, "caption")


def _sniff(path: pathlib.Path) -> bool:
    names = json_records.first(path)
    return all(keys(names, Settings())) and "conversations" not in names


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return json_records.units(path, folder, "captions")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return json_records.read(unit, settings, convert)


FORMAT = Format(json_records.SUFFIXES, _sniff, _units, _read)

"""COCO captions, {images, annotations}, and Karpathy's dataset_coco.json."""

import collections
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from data_pipelines.prepare.formats import fields, json_records, pictures, unpacking
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.raw import Raw, Reject, Unit
from data_pipelines.records import Text

_Captions = dict[Any, list[tuple[int, Any]]]  # (number, caption) by id of their image


def _units(path: pathlib.Path, folder: str, name: str) -> Iterator[Unit]:
    yield Unit(str(path), name, folder, 0, path.stat().st_size, 1)


def _sniff_coco(path: pathlib.Path) -> bool:
    image = json_records.first(path, "images")
    return {"id", "file_name"} <= set(image) and "sentences" not in image


def _sniff_karpathy(path: pathlib.Path) -> bool:
    return {"filename", "sentences"} <= set(json_records.first(path, "images"))


def _read_coco(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    """Each image with its captions; numbers count the images.

    The captions come in any order, so all of them are held in memory (600,000 in
    COCO's own file); the images are not.
    """
    del settings
    captions: _Captions = collections.defaultdict(list)
    for found in _members(unit, "annotations", _annotation):
        if isinstance(found, Reject):
            yield found
        else:
            image_id, number, caption = found
            captions[image_id].append((number, caption))
    convert = functools.partial(_image, captions, _licences(unit))
    for found in _members(unit, "images", convert):
        if isinstance(found, Reject):
            yield found
        else:
            yield from found
    for image_id, left in captions.items():
        for number, _ in left:
            detail = f"annotations: image {str(image_id)[:80]!r} isn't listed"
            yield Reject(unit.file, number, "misaligned", detail, "caption")


def _read_karpathy(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    del settings
    for found in _members(unit, "images", _karpathy):
        if isinstance(found, Reject):
            yield found
        else:
            yield from found


def _members(
    unit: Unit, member: str, convert: Callable[[Record], Any]
) -> Iterator[Any]:
    """What `convert` gives for each element of an array of the file, or a reject."""
    for entry in json_records.members(unit, member):
        if isinstance(entry, Reject):
            yield entry
            continue
        number, data = entry
        try:
            yield convert(Record(unit, number, fields.parse(data)))
        except Bad as bad:
            detail = f"{member}: {bad.detail}"
            yield Reject(unit.file, number, bad.reason, detail, "record")


def _annotation(record: Record) -> tuple[Any, int, Any]:
    image_id = record.fields.get("image_id")
    if not isinstance(image_id, int | str):
        raise Bad("missing_field", f"image_id {str(image_id)[:80]!r}")
    return image_id, record.number, record.fields.get("caption")


def _licences(unit: Unit) -> dict[Any, Any]:
    """Names of the licences, of which an image has the number, if the file has any."""
    found = _members(unit, "licenses", lambda record: record.fields)
    listed = [licence for licence in found if not isinstance(licence, Reject)]
    return {str(licence.get("id")): licence.get("name") for licence in listed}


def _image(
    captions: _Captions, licences: dict[Any, Any], record: Record
) -> list[Raw | Reject]:
    image_id = record.fields.get("id")
    if not isinstance(image_id, int | str):
        raise Bad("missing_field", f"id {str(image_id)[:80]!r}")
    shown = pictures.picture(record.fields.get("file_name"))
    found = [caption for _, caption in captions.pop(image_id, [])]
    url = record.fields.get("coco_url") or record.fields.get("flickr_url") or ""
    used = ("file_name", "coco_url", "flickr_url")
    licence = record.fields.get("license")
    named = {"license": licences.get(str(licence), licence)}
    record = record._replace(fields=record.fields | named)
    return _captioned(record, shown._replace(url=str(url)), found, used)


def _karpathy(record: Record) -> list[Raw | Reject]:
    name, folder = record.fields.get("filename"), record.fields.get("filepath")
    if not isinstance(name, str) or not name:
        raise Bad("missing_field", f"filename {str(name)[:80]!r}")
    shown = pictures.picture(f"{folder}/{name}" if folder else name)
    sentences = record.fields.get("sentences")
    if not isinstance(sentences, list):
        raise Bad("missing_field", "needs a list of sentences")
    found = [s.get("raw") if isinstance(s, dict) else s for s in sentences]
    used = ("filename", "filepath", "sentences", "sentids")
    return _captioned(record, shown, found, used)


def _captioned(
    record: Record, shown: Any, captions: Iterable[Any], used: tuple[str, ...]
) -> list[Raw | Reject]:
    documents, found = [], []
    for caption in captions:
        if isinstance(caption, str) and caption.strip():
            documents.append((shown, Text(fields.clean(caption.strip()))))
        else:
            bad = Bad("empty_caption", f"caption {str(caption)[:80]!r} of {shown.path}")
            found.append(fields.reject(record, bad, "caption"))
    if documents:
        return [*found, fields.raw(record, documents, used)]
    return found or [fields.reject(record, Bad("missing_field", "has no captions"))]


_SUFFIXES = unpacking.with_compressed(".json")
COCO = Format(
    _SUFFIXES, _sniff_coco, functools.partial(_units, name="coco"), _read_coco
)
KARPATHY = Format(
    _SUFFIXES,
    _sniff_karpathy,
    functools.partial(_units, name="karpathy"),
    _read_karpathy,
)

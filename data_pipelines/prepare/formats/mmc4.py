"""MMC4 pages: {text_list, image_info, similarity_matrix}, one a line.

A picture stands before its sentence: the one that `matched_text_index` names, or, in
the format `mmc4_assigned`, the one of `mmc4_assign`.
"""

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import (
    fields,
    json_records,
    mmc4_assign,
    pictures,
    unpacking,
)
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.formats.mmc4_assign import Assignment
from data_pipelines.prepare.raw import Part, Picture, Raw, Reject, Unit
from data_pipelines.records import Text

_SUFFIXES = unpacking.with_compressed(".jsonl", ".json")
_USED = ("text_list", "image_info", "similarity_matrix")
_Shown = dict[int, list[Picture]]  # pictures by the sentence they come before


def _lists(record: Record) -> tuple[list[str], list[dict]]:
    sentences, images = (record.fields.get(key) for key in _USED[:2])
    if not isinstance(sentences, list) or not isinstance(images, list):
        raise Bad("missing_field", "needs the lists text_list and image_info")
    for sentence in sentences:
        if not isinstance(sentence, str):
            raise Bad("misaligned", f"a {type(sentence).__name__} in text_list")
        fields.clean(sentence)
    if not any(sentence.strip() for sentence in sentences):
        raise Bad("empty_text", "no text in the document")
    for image in images:
        if not isinstance(image, dict):
            raise Bad("misaligned", f"a {type(image).__name__} in image_info")
    return sentences, images


def _picture(image: dict[str, Any]) -> Picture:
    """Names of files count inside of the folder; the URL is where it once was."""
    data, url = image.get("image_base64"), image.get("raw_url")
    if isinstance(data, str) and data:
        shown = pictures.inline(data)
    else:
        shown = pictures.picture(image.get("image_name"))
    return shown._replace(url=fields.clean(url) if isinstance(url, str) else "")


def _matched(
    record: Record, settings: Settings, sentences: list[str], images: list[dict]
) -> Iterator[Reject | tuple[int, Picture]]:
    """(sentence, picture) as the file itself says."""
    for position, image in enumerate(images):
        index = image.get("matched_text_index")
        try:
            if type(index) is not int or not 0 <= index < len(sentences):
                rule = f"matched_text_index {index!r} of {len(sentences)} sentences"
                raise Bad("misaligned", rule)
            yield index, _picture(image)
        except Bad as bad:
            detailed = Bad(bad.reason, f"image {position}: {bad.detail}")
            yield fields.lost_picture(record, detailed, settings)


def _assigned(
    record: Record,
    settings: Settings,
    sentences: list[str],
    images: list[dict],
    assignment: Assignment,
) -> Iterator[Reject | tuple[int, Picture]]:
    """(sentence, picture) of the best assignment; raises Bad as its rules say."""
    usable: list[tuple[int, Picture]] = []
    for position, image in enumerate(images):
        try:
            found = _picture(image)
            size = len(found.data)
            if found.data and size < assignment.least_bytes:
                bad = Bad("small_image", f"image {position}: {size} bytes")
                yield fields.reject(record, bad, "image")
            else:
                usable.append((position, found))
        except Bad as bad:
            detailed = Bad(bad.reason, f"image {position}: {bad.detail}")
            yield fields.lost_picture(record, detailed, settings)
    matrix = record.fields.get("similarity_matrix")
    try:
        rows = [matrix[position] for position, _ in usable]  # pyright: ignore
        if any(len(row) != len(sentences) for row in rows):
            raise ValueError(f"rows of it must have {len(sentences)} numbers")
        limits = assignment.threshold, assignment.most_images
        pairs = mmc4_assign.assign(rows, *limits) if rows else []
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise Bad("misaligned", f"similarity_matrix: {error}") from error
    if not pairs:
        raise Bad("no_matching_image", f"none reaches {assignment.threshold}")
    single = len(pairs) == 1
    if single and mmc4_assign.is_dropped(sentences, assignment.drop_single):
        raise Bad("single_image", f"{assignment.drop_single:.0%} of these are dropped")
    for image, sentence in pairs:
        yield sentence, usable[image][1]


def _parts(sentences: list[str], shown: _Shown) -> tuple[Part, ...]:
    """Sentences as one text, but for pictures before some of them."""
    parts: list[Part] = []
    run: list[str] = []
    for number, sentence in enumerate(sentences):
        if number in shown:
            parts += [Text(" ".join(run))] if run else []
            parts += shown[number]
            run = []
        run += [sentence] if sentence.strip() else []
    return (*parts, Text(" ".join(run))) if run else tuple(parts)


def convert(
    record: Record, settings: Settings, assignment: Assignment | None = None
) -> Iterator[Raw | Reject]:
    """The page of a record; with an assignment, matched anew. Raises Bad."""
    sentences, images = _lists(record)
    if assignment is None:
        found = _matched(record, settings, sentences, images)
    else:
        found = _assigned(record, settings, sentences, images, assignment)
    shown: _Shown = {}
    for one in found:
        if isinstance(one, Reject):
            yield one
        else:
            shown.setdefault(one[0], []).append(one[1])
    yield fields.raw(record, (_parts(sentences, shown),), _USED)


def _sniff(path: pathlib.Path) -> bool:
    return {"text_list", "image_info"} <= set(json_records.first(path))


def _never(path: pathlib.Path) -> bool:
    """A choice, not a shape: it has to be asked for."""
    del path
    return False


def _units(path: pathlib.Path, folder: str, name: str) -> Iterator[Unit]:
    """A shard's pictures lie in the folder, or in one inside it of the shard's name."""
    own = pathlib.Path(folder, path.name.partition(".json")[0])
    folder = str(own) if own.is_dir() else folder
    return json_records.units(path, folder, name)


def read(
    unit: Unit, settings: Settings, assignment: Assignment | None = None
) -> Iterator[Raw | Reject]:
    """The pages of a unit; with an assignment, matched anew."""
    matched = functools.partial(convert, assignment=assignment)
    return json_records.read(unit, settings, matched)


FORMAT = Format(_SUFFIXES, _sniff, functools.partial(_units, name="mmc4"), read)
ASSIGNED = Format(
    _SUFFIXES,
    _never,
    functools.partial(_units, name="mmc4_assigned"),
    functools.partial(read, assignment=Assignment()),
)

"""What is wrong with the records of one shard: content, order, counts and index."""

import io
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from data_pipelines import images, index, records, shard_files, shards
from data_pipelines.records import Document, Image, Text
from data_pipelines.tokenizer import Tokenizer

_SIDE = 16  # pixels that images are shrunk to; their bytes are all decoded nevertheless


class _Indexed(NamedTuple):
    """A shard's index by document."""

    columns: dict[str, np.ndarray]
    starts: list[int]  # first segment of each document, and an end

    def of(self, number: int, name: str) -> list:
        """A column's values for the segments of a document."""
        start, stop = self.starts[number : number + 2]
        return self.columns[name][start:stop].tolist()


def problems(
    path: pathlib.Path,
    number: int,
    count: int,
    info: dict[str, Any],
    tokenizer: Tokenizer,
    every: int,
) -> Iterator[str]:
    """Yields what is wrong in shard `number` of `count`, which `info` describes.

    Tokens are counted again in every `every`th document.
    """
    reader = shard_files.open_shard(path)
    if not reader.ok():
        yield f"{path}: can't be read as an ArrayRecord file"
        return
    total = reader.num_records()
    if total != info["records"]:
        yield f"{path}: {total} records, the manifest says {info['records']}"
    indexed, problem = _indexed(path, info, total, tokenizer)
    if problem:
        yield problem
    found, before = _empty_counts(), b""
    for place in range(total):
        here = f"{path}: record {place}"
        try:
            document = records.decode(reader.read(place, place + 1)[0])
        except (RuntimeError, IndexError, ValueError) as error:
            yield f"{here}: {' '.join(str(error).split())}"
            continue
        key = records.document_id(document)
        words = [*_id_problems(key, before, number, count), *_image_problems(document)]
        if indexed:
            recount = tokenizer if place % every == 0 else None
            words += _index_problems(document, indexed, place, recount)
        for word in words:
            yield f"{here}: {word}"
        before = key
        _count(document, found)
    for name, value in found.items():
        if value != info[name]:
            yield f"{path}: {name} counted {value}, the manifest says {info[name]}"


def _id_problems(key: bytes, before: bytes, number: int, count: int) -> Iterator[str]:
    """A record out of its place: behind a larger id, or in another one's shard."""
    if key <= before:
        yield f"id {key.hex()} isn't larger than the one before"
    right = shards.shard_of(key, count)
    if right != number:
        yield f"id {key.hex()} belongs in shard {right}"


def _empty_counts() -> dict[str, Any]:
    """Counts under the names that a manifest has for a shard."""
    labels = {name: {} for name in ("kinds", "licences")}
    return {"images": 0, "characters": 0, **labels}


def _count(document: Document, found: dict[str, Any]) -> None:
    labels = (("kinds", document.kind), ("licences", document.licence))
    for name, label in labels:
        found[name][label] = found[name].get(label, 0) + 1
    for segment in document.segments:
        found["images"] += isinstance(segment, Image)
        found["characters"] += len(segment.text) if isinstance(segment, Text) else 0


def _image_problems(document: Document) -> Iterator[str]:
    """Images that training would show grey, or that have another size than said."""
    square_hwc = np.empty((_SIDE, _SIDE, 3), np.uint8)
    for number, segment in enumerate(document.segments):
        if not isinstance(segment, Image):
            continue
        if not images.decode(segment.data, square_hwc):
            yield f"segment {number}: an image that can't be decoded whole"
            continue
        with PIL.Image.open(io.BytesIO(segment.data)) as opened:
            width, height = opened.size
        if (width, height) != (segment.width, segment.height):
            said = f"{segment.width} x {segment.height}"
            yield f"segment {number}: an image of {width} x {height}, said to be {said}"


def _indexed(
    path: pathlib.Path, info: dict[str, Any], total: int, tokenizer: Tokenizer
) -> tuple[_Indexed | None, str]:
    """The shard's index, or what is wrong with it as a whole."""
    try:
        columns = index.load_shard(path.parent, info, tokenizer)
    except ValueError as error:
        return None, str(error)
    starts = np.concatenate([[0], np.cumsum(columns["segments"])]).tolist()
    lengths = {
        len(columns[name]) for name in ("tokens", "image", "loss", "width", "height")
    }
    if len(starts) - 1 != total or lengths != {starts[-1]}:
        return None, f"{path}: its index has {len(starts) - 1} documents, not {total}"
    return _Indexed(columns, starts), ""


def _index_problems(
    document: Document, indexed: _Indexed, place: int, tokenizer: Tokenizer | None
) -> Iterator[str]:
    """How a document differs from its index; tokens only with a tokenizer."""
    kind = indexed.columns["kinds"][indexed.columns["kind"][place]].item()
    if kind != document.kind:
        yield f"its index says kind {kind!r}, the record {document.kind!r}"
    facts = _facts(document)
    if tokenizer is not None:
        facts["tokens"] = [
            len(tokenizer.encode(s.text)) if isinstance(s, Text) else 0
            for s in document.segments
        ]
    for name, values in facts.items():
        said = indexed.of(place, name)
        if said != values:
            yield f"its index says {name} of its segments is {said}, not {values}"
            if len(said) != len(values):
                return  # they differ in everything


def _facts(document: Document) -> dict[str, list]:
    """What the index has of each segment, but for tokens."""
    pictures = [s if isinstance(s, Image) else None for s in document.segments]
    texts = [s if isinstance(s, Text) else None for s in document.segments]
    return {
        "image": [picture is not None for picture in pictures],
        "loss": [text is not None and text.loss for text in texts],
        "width": [picture.width if picture else 0 for picture in pictures],
        "height": [picture.height if picture else 0 for picture in pictures],
    }

"""What is wrong with the records of one shard: content, order, counts and index."""

import collections
import io
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from data_pipelines import images, index, records, shards
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
    reader = shards.open_shard(path)
    if not reader.ok():
        yield f"{path}: can't be read as an ArrayRecord file"
        return
    total = reader.num_records()
    if total != info["records"]:
        yield f"{path}: {total} records, the manifest says {info['records']}"
    indexed, problem = _indexed(path, info, total, tokenizer)
    if problem:
        yield problem
    counts, before = collections.Counter(), b""
    kinds, licences = collections.Counter(), collections.Counter()
    for place in range(total):
        here = f"{path}: record {place}"
        try:
            document = records.decode(reader.read(place, place + 1)[0])
        except (RuntimeError, IndexError, ValueError) as error:
            yield f"{here}: {' '.join(str(error).split())}"
            continue
        key = records.document_id(document)
        if key <= before:
            yield f"{here}: id {key.hex()} isn't larger than the one before"
        if shards.shard_of(key, count) != number:
            right = shards.shard_of(key, count)
            yield f"{here}: id {key.hex()} belongs in shard {right}"
        before = key
        kinds[document.kind] += 1
        licences[document.licence] += 1
        _count(document, counts)
        for words in _image_problems(document):
            yield f"{here}: {words}"
        if indexed:
            words = _index_problem(
                document, indexed, place, tokenizer if place % every == 0 else None
            )
            if words:
                yield f"{here}: {words}"
    found = {**counts, "kinds": dict(kinds), "licences": dict(licences)}
    for name, value in found.items():
        if value != info[name]:
            yield f"{path}: {name} counted {value}, the manifest says {info[name]}"


def _count(document: Document, counts: collections.Counter) -> None:
    for segment in document.segments:
        counts["images"] += isinstance(segment, Image)
        counts["characters"] += len(segment.text) if isinstance(segment, Text) else 0


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


def _index_problem(
    document: Document, indexed: _Indexed, place: int, tokenizer: Tokenizer | None
) -> str:
    """How a document differs from its index; "" if it doesn't."""
    segments, columns = document.segments, indexed.columns
    kind = columns["kinds"][columns["kind"][place]].item()
    if kind != document.kind:
        return f"its index says kind {kind!r}, the record {document.kind!r}"
    for name, values in _facts(document).items():
        if indexed.of(place, name) != values:
            said = indexed.of(place, name)
            return f"its index says {name} of its segments is {said}, not {values}"
    if tokenizer is None:
        return ""
    tokens = [
        len(tokenizer.encode(s.text)) if isinstance(s, Text) else 0 for s in segments
    ]
    said = indexed.of(place, "tokens")
    return "" if said == tokens else f"its index says {said} tokens, counted {tokens}"


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

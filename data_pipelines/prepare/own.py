"""Own data: one line of a user's file becomes documents, or a reason why not.

Captions, interleaved documents and texts, in the formats of `python -m
data_pipelines.prepare`. Pure functions of a line and the options; any engine runs them.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from data_pipelines import records
from data_pipelines.prepare import photos
from data_pipelines.records import Document, Segment, Text

CORPORA = ("captions", "interleaved", "text")
SPLITS = ("train", "heldout")


class Options(NamedTuple):
    """What shapes the documents."""

    max_side: int = 448  # of an image in pixels; larger ones are shrunk
    heldout: float = 0.02  # share of documents (of images for captions) held out
    text_split: str = "auto"  # what is one document of a .txt file


class Line(NamedTuple):
    """One line of a user's file, or one piece of a text."""

    corpus: str
    file: str
    number: int  # from 1
    images: str  # folder of the images that it names
    data: bytes | str | dict  # a line of JSON, a text, the cells of a table's row


class Kept(NamedTuple):
    """A document, as a record."""

    corpus: str
    split: str
    key: bytes
    record: bytes


class Reject(NamedTuple):
    """Something that was left out."""

    file: str
    line: int
    reason: str  # one of a few, for counting
    detail: str
    lost: str  # line, document, image or caption: how much of it


class _Bad(Exception):  # noqa: N818
    """A line that can't be used, and why."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def documents(line: Line, options: Options) -> Iterator[Kept | Reject]:
    """The documents of a line, and what was left out of it."""
    try:
        yield from _READERS[line.corpus](line, options)
    except _Bad as bad:
        yield Reject(line.file, line.number, bad.reason, bad.detail, "document")


def _captions(line: Line, options: Options) -> Iterator[Kept | Reject]:
    """{image, caption or captions}: every caption is a document [image, text]."""
    fields = _fields(line)
    captions = fields.get("captions", fields.get("caption"))
    captions = [captions] if isinstance(captions, str) else captions
    if not isinstance(captions, list) or not captions:
        raise _Bad("missing_field", "needs a caption, or a list of captions")
    photo = _photo(line, fields.get("image"), options)
    split = _split(photo.digest, options.heldout)
    for caption in captions:
        if isinstance(caption, str) and caption.strip():
            text = _text(caption.strip())
            document = _document(line, fields, (photo.image, Text(text)))
            yield _kept(line.corpus, split, document)
        else:
            detail = f"caption {str(caption)[:80]!r} of {fields['image']}"
            yield Reject(line.file, line.number, "empty_caption", detail, "caption")


def _interleaved(line: Line, options: Options) -> Iterator[Kept | Reject]:
    """{texts, images}: parallel lists, one of the two null at each position."""
    fields = _fields(line)
    segments: list[Segment] = []
    for position, (text, image) in enumerate(_aligned(fields)):
        if image is not None:
            try:
                segments.append(_photo(line, image, options).image)
            except _Bad as bad:
                detail = f"position {position}: {bad.detail}"
                yield Reject(line.file, line.number, bad.reason, detail, "image")
        elif text.strip():
            segments.append(Text(_text(text)))
    if not any(isinstance(segment, Text) for segment in segments):
        raise _Bad("empty_text", "no text in the document")
    yield _by_content(line, _document(line, fields, _joined(segments)), options)


def _texts(line: Line, options: Options) -> Iterator[Kept | Reject]:
    """A piece of a text file, or {text}."""
    fields = {"text": line.data} if isinstance(line.data, str) else _fields(line)
    text = fields.get("text")
    if not isinstance(text, str):
        raise _Bad("missing_field", "needs a text")
    if not text.strip():
        raise _Bad("empty_text", "no text in the document")
    document = _document(line, fields, (Text(_text(text.strip("\r\n"))),))
    yield _by_content(line, document, options)


_READERS = {"captions": _captions, "interleaved": _interleaved, "text": _texts}


def _fields(line: Line) -> dict[str, Any]:
    """The line's values by name."""
    if isinstance(line.data, dict):
        return line.data
    try:
        text = line.data if isinstance(line.data, str) else line.data.decode("utf-8")
        fields = json.loads(text)
    except UnicodeDecodeError as error:
        raise _Bad("not_utf8", str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _Bad("malformed_json", str(error)) from error
    if not isinstance(fields, dict):
        raise _Bad("malformed_json", f"{type(fields).__name__} instead of an object")
    return fields


def _aligned(fields: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Pairs of which one is None."""
    texts, images = fields.get("texts"), fields.get("images")
    if not isinstance(texts, list) or not isinstance(images, list):
        raise _Bad("missing_field", "needs the lists texts and images")
    if len(texts) != len(images):
        raise _Bad("misaligned", f"{len(texts)} texts but {len(images)} images")
    for position, (text, image) in enumerate(zip(texts, images)):
        if (text is None) == (image is None):
            rule = "exactly one of text and image must be null"
            raise _Bad("misaligned", f"position {position}: {rule}")
        if text is not None and not isinstance(text, str):
            kind = type(text).__name__
            raise _Bad("misaligned", f"position {position}: a {kind} as text")
    return list(zip(texts, images))


def _joined(segments: list[Segment]) -> tuple[Segment, ...]:
    """Texts that follow each other become one, as paragraphs."""
    joined: list[Segment] = []
    for segment in segments:
        last = joined[-1] if joined else None
        if isinstance(segment, Text) and isinstance(last, Text):
            joined[-1] = Text(f"{last.text}\n\n{segment.text}")
        else:
            joined.append(segment)
    return tuple(joined)


def _photo(line: Line, image: Any, options: Options) -> photos.Photo:
    """The image that a path, or a dict with `file` or `path`, names."""
    if isinstance(image, dict):
        image = image.get("file", image.get("path"))
    if not isinstance(image, str) or not image:
        raise _Bad("missing_field", "an image must name its file")
    try:
        return photos.load(line.images, image, options.max_side)
    except photos.Refused as refused:
        detail = refused.detail
        detail = detail if image in detail else f"{image}: {detail}"
        raise _Bad(refused.reason, detail) from refused


def _text(text: str) -> str:
    """The text, if it can be written as UTF-8 (JSON may hold half a character)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _Bad("not_utf8", str(error)) from error
    return text


def _document(
    line: Line, fields: dict[str, Any], segments: tuple[Segment, ...]
) -> Document:
    licence = fields.get("licence") or fields.get("license") or ""
    return Document(
        segments, line.corpus, "", str(licence), str(fields.get("url") or "")
    )


def _by_content(line: Line, document: Document, options: Options) -> Kept:
    """The document, on the side that its content decides."""
    split = _split(records.document_id(document), options.heldout)
    return _kept(line.corpus, split, document)


def _kept(corpus: str, split: str, document: Document) -> Kept:
    key = records.document_id(document)
    return Kept(corpus, split, key, records.encode(document))


def _split(key: bytes, heldout: float) -> str:
    """The side of whatever has this key."""
    digest = hashlib.blake2b(key, digest_size=8, person=b"heldout").digest()
    return SPLITS[int.from_bytes(digest, "big") < heldout * 2**64]

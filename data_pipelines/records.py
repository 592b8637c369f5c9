"""The record: one document, texts and images in reading order, as bytes.

A record is one byte of version and a msgpack map:

    {"segs": [[text, loss] | [text, loss, synthetic] | [image bytes, width, height],
              ...],
     "src": source, "kind": kind, "lic": licence, "url": url, "meta": {...}}

A caption is an image and a text, a web page any sequence, plain text one segment.
"""

import hashlib
from typing import Any, NamedTuple

import msgpack

VERSION = 1


class Text(NamedTuple):
    """A piece of text, tokenized on its own."""

    text: str
    loss: bool = True  # whether its tokens are predicted
    synthetic: str = ""  # another wording, by a model (VeCap); empty: there is none


class Image(NamedTuple):
    """An encoded image (JPEG, or anything that Pillow reads)."""

    data: bytes
    width: int  # of the encoded image, in pixels
    height: int


Segment = Text | Image


class Document(NamedTuple):
    """Segments in reading order, and where they come from."""

    segments: tuple[Segment, ...]
    source: str = ""
    kind: str = ""  # label of a class of documents, as the type of a question
    licence: str = ""
    url: str = ""
    meta: dict[str, Any] = {}  # noqa: RUF012  (never changed) what training doesn't read


def document_id(document: Document) -> bytes:
    """16 bytes that only documents with the same segments share.

    Synthetic wordings are left aside: a document keeps its id when it gets one.
    """
    packed = _pack(
        [s[:2] if isinstance(s, Text) else list(s) for s in document.segments]
    )
    return hashlib.blake2b(packed, digest_size=16).digest()


def encode(document: Document) -> bytes:
    """The document's record; equal documents give equal bytes.

    Raises ValueError where a segment isn't what a record can hold.
    """
    for number, segment in enumerate(document.segments):
        problem = _problem(segment)
        if problem:
            raise ValueError(f"segment {number} of a document: {problem}")
    fields = {
        "segs": [_values(segment) for segment in document.segments],
        "src": document.source,
        "kind": document.kind,
        "lic": document.licence,
        "url": document.url,
        "meta": dict(sorted(document.meta.items())),
    }
    return bytes([VERSION]) + _pack(fields)


def decode(data: bytes) -> Document:
    """The document of a record.

    Raises ValueError where the bytes are no record, or one of another version.
    """
    if not data or data[0] != VERSION:
        found = data[0] if data else "nothing"
        raise ValueError(f"record version is {found}: this program reads {VERSION}")
    try:
        fields = msgpack.unpackb(memoryview(data)[1:])
        segments = tuple(_segment(values) for values in fields["segs"])
        return Document(
            segments, fields["src"], fields["kind"], fields["lic"], fields["url"],
            fields["meta"],
        )  # fmt: skip
    except (ValueError, LookupError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(f"not a record: {error!r}") from error


def _values(segment: Segment) -> list:
    """The segment's fields; without an empty `synthetic`, as most texts have."""
    if isinstance(segment, Text) and not segment.synthetic:
        return [segment.text, segment.loss]
    return list(segment)


def _segment(values: list) -> Segment:
    segment = Text(*values) if isinstance(values[0], str) else Image(*values)
    problem = _problem(segment)
    if problem:
        raise ValueError(problem)
    return segment


def _problem(segment: Segment) -> str:
    """What is wrong with a segment; empty if nothing is."""
    match segment:
        case Text(str(), bool(), str()):
            return ""
        case Image(bytes(), int(width), int(height)):
            rule = f"image of {width} x {height} pixels: sides must be positive"
            return "" if min(width, height) > 0 else rule
    return f"{type(segment).__name__} with fields of the wrong type"


def _pack(value: object) -> bytes:
    try:
        return msgpack.Packer().pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        # UnicodeEncodeError (half a surrogate pair) is a ValueError, too.
        raise ValueError(f"document doesn't fit a record: {error}") from error

"""From what a reader gives to documents: images checked, filters applied, sides chosen.

Pure functions of a record and the recipe (but for reading image files); any engine runs
them. What depends on other documents, such as near duplicates, comes later, by traits.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import PIL.Image

from data_pipelines import records
from data_pipelines.prepare import decontaminate, minhash, photos, picture_hash
from data_pipelines.prepare import recipe as recipes
from data_pipelines.prepare.decontaminate import Look
from data_pipelines.prepare.filters import (
    captions,
    language,
    pages,
    pictures,
    quality,
    scores,
)
from data_pipelines.prepare.filters.base import Problem
from data_pipelines.prepare.raw import Part, Picture, Raw, Reject
from data_pipelines.prepare.recipe import Recipe
from data_pipelines.records import Document, Image, Segment, Text


class Seen(NamedTuple):
    """An image as it goes into records, and what tells it from others."""

    image: Image
    digest: bytes  # of the original file: the same picture under any name
    perceptual: int | None  # None: not wanted, or too plain
    url: str


class Traits(NamedTuple):
    """What of a document is compared with other documents."""

    signature: bytes  # MinHash of its text; empty: not wanted, or no words
    pictures: tuple[tuple[bytes, int | None], ...]  # digest, perceptual; in order


class Kept(NamedTuple):
    """A document, as a record."""

    split: str
    key: bytes  # records.document_id
    record: bytes
    traits: Traits
    file: str
    number: int  # of the record it is from


class _Lost(Exception):  # noqa: N818
    """A document that is left out, and why."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def documents(raw: Raw, corpus: str, recipe: Recipe) -> Iterator[Kept | Reject]:
    """The documents of a record, and what was left out of it.

    Raises ValueError for a lost image where the recipe's settings make it an error.
    """
    try:
        _require(scores.problem(raw.scores, recipe.scores, recipe.missing_scores))
        seen: dict[Picture, Seen | Problem] = {}
        for parts in raw.documents:
            for part in parts:
                if isinstance(part, Picture) and part not in seen:
                    seen[part] = _look(raw, part, recipe)
        yield from _without_losses(raw, corpus, recipe, seen)
    except _Lost as lost:
        yield Reject(raw.file, raw.number, lost.reason, lost.detail, "record")


def segments_text(segments: Sequence[Segment]) -> str:
    """All texts of a document, as paragraphs."""
    return "\n\n".join(s.text for s in segments if isinstance(s, Text))


def _without_losses(
    raw: Raw, corpus: str, recipe: Recipe, seen: dict[Picture, Seen | Problem]
) -> Iterator[Kept | Reject]:
    lost = [p for p, found in seen.items() if isinstance(found, Problem)]
    if lost:
        problem = seen[lost[0]]
        assert isinstance(problem, Problem)
        if recipe.settings.missing_image == "error":
            where = f"{raw.file}: record {raw.number}"
            raise ValueError(f"{where}: {problem.reason}: {problem.detail}")
        if corpus in recipes.NEEDS_IMAGES or recipe.settings.missing_image == "drop":
            raise _Lost(problem.reason, problem.detail)
        for picture in lost:
            problem = seen[picture]
            assert isinstance(problem, Problem)
            yield Reject(raw.file, raw.number, *problem, "image")
    good = {p: found for p, found in seen.items() if isinstance(found, Seen)}
    alone = len(raw.documents) == 1
    for parts in raw.documents:
        try:
            yield _document(raw, parts, corpus, recipe, good)
        except _Lost as bad:
            kind = "record" if alone else "document"
            yield Reject(raw.file, raw.number, bad.reason, bad.detail, kind)


def _document(
    raw: Raw,
    parts: Sequence[Part],
    corpus: str,
    recipe: Recipe,
    good: dict[Picture, Seen],
) -> Kept:
    shown = [good[p] for p in parts if isinstance(p, Picture) and p in good]
    if corpus == "interleaved" and recipe.pages is not None:
        again = pages.repeats([one.digest for one in shown])
        left = _Skip(again)
        parts = [p for p in parts if not (_shown(p, good) and left())]
        shown = [one for place, one in enumerate(shown) if place not in again]
        _require(pages.problem(len(shown), recipe.pages))
    segments = _joined([_filled(p, good) for p in parts])
    texts = [s.text for s in segments if isinstance(s, Text)]
    if not any(text.strip() for text in texts):
        raise _Lost("empty_text", "no text in the document")
    _check_texts(texts, segments, corpus, recipe)
    if recipe.evaluations:
        looks = [Look(one.digest, one.perceptual) for one in shown]
        known = recipes.evaluations(recipe.evaluations)
        _require(decontaminate.contaminated(texts, looks, known))
    document = Document(segments, corpus, "", raw.licence, raw.url, raw.meta)
    key = records.document_id(document)
    # All captions of an image are on the same side, whatever they say.
    decides = shown[0].digest if corpus == "captions" and shown else key
    traits = _traits(texts, shown, corpus, recipe)
    split, record = side(decides, recipe.heldout), records.encode(document)
    return Kept(split, key, record, traits, raw.file, raw.number)


class _Skip:
    """Says of one picture after the other whether it is skipped."""

    def __init__(self, places: Sequence[int]):
        self._places = set(places)
        self._at = -1

    def __call__(self) -> bool:
        self._at += 1
        return self._at in self._places


def _shown(part: Part, good: dict[Picture, Seen]) -> bool:
    return isinstance(part, Picture) and part in good


def _filled(part: Part, good: dict[Picture, Seen]) -> Segment | Picture:
    """A picture's image, where there is one; everything else as it is."""
    if isinstance(part, Picture) and part in good:
        return good[part].image
    return part


def side(key: bytes, heldout: float) -> str:
    """The split of whatever has this key."""
    digest = hashlib.blake2b(key, digest_size=8, person=b"heldout").digest()
    return recipes.SPLITS[int.from_bytes(digest, "big") < heldout * 2**64]


def _check_texts(
    texts: Sequence[str], segments: Sequence[Segment], corpus: str, recipe: Recipe
) -> None:
    """Raises _Lost for a text that the recipe's rules refuse."""
    if corpus == "captions" and recipe.captions is not None:
        _require(captions.problem(" ".join(texts), recipe.captions))
    if corpus in ("interleaved", "text") and recipe.texts is not None:
        words = frozenset(recipe.bad_words)
        _require(quality.problem(segments_text(segments), recipe.texts, words))
    if recipe.languages:
        # A classifier is seldom sure of a text as short as a caption.
        least = 0.0 if corpus == "captions" else 0.5
        _require(language.problem(segments_text(segments), recipe.languages, least))


def _traits(
    texts: Sequence[str], shown: Sequence[Seen], corpus: str, recipe: Recipe
) -> Traits:
    """Captions are compared by their image alone: short texts repeat by right."""
    signature = b""
    if recipe.near_duplicates and corpus in ("interleaved", "text"):
        signature = minhash.signature("\n\n".join(texts)).astype("<u4").tobytes()
    return Traits(signature, tuple((one.digest, one.perceptual) for one in shown))


def _look(raw: Raw, picture: Picture, recipe: Recipe) -> Seen | Problem:
    """The picture, converted; or what is wrong with it."""
    name = picture.path or picture.url
    try:
        data = picture.data or _read(raw, picture)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        image = photos.convert(data, recipe.max_side)
    except photos.Refused as refused:
        detail = refused.detail
        named = detail if not name or name in detail else f"{name}: {detail}"
        return Problem(refused.reason, named)
    if recipe.pictures is not None:
        label = picture.url or picture.path
        width, height = _size(data)
        found = pictures.problem(label, len(data), width, height, recipe.pictures)
        found = found or pictures.plain(image.data, recipe.pictures)
        if found:
            return found
    wanted = recipe.near_duplicates or recipe.evaluations
    perceptual = picture_hash.perceptual(image.data) if wanted else None
    return Seen(image, digest, perceptual, picture.url)


def _read(raw: Raw, picture: Picture) -> bytes:
    if picture.path:
        return photos.read(raw.folder, picture.path)
    raise photos.Refused("image_not_local", f"{picture.url}: download it first")


def _size(data: bytes) -> tuple[int, int]:
    """Sides of an image that is known to be readable."""
    with PIL.Image.open(io.BytesIO(data)) as opened:
        return opened.size


def _joined(segments: Sequence[Segment | Picture]) -> tuple[Segment, ...]:
    """Without lost pictures; texts that follow each other become one, as paragraphs."""
    joined: list[Segment] = []
    gap = False  # a picture was lost after the last segment
    for segment in segments:
        if isinstance(segment, Picture):
            gap = True
            continue
        last = joined[-1] if joined else None
        if (
            gap
            and isinstance(segment, Text)
            and isinstance(last, Text)
            and segment.loss == last.loss
        ):
            joined[-1] = Text(f"{last.text}\n\n{segment.text}", last.loss)
        else:
            joined.append(segment)
        gap = False
    return tuple(joined)


def _require(problem: Problem | None) -> None:
    if problem:
        raise _Lost(problem.reason, problem.detail)

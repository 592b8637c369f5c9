"""From what a reader gives to documents: images checked, filters applied, sides chosen.

Pure functions of a record and the recipe (but for reading image files); any engine runs
them. What depends on other documents, such as near duplicates, comes later, by traits.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from data_pipelines import records
from data_pipelines.prepare import decontaminate, looking, minhash
from data_pipelines.prepare import recipe as recipes
from data_pipelines.prepare.decontaminate import Look
from data_pipelines.prepare.filters import (
    captions,
    language,
    pages,
    quality,
    scores,
)
from data_pipelines.prepare.filters.base import Problem
from data_pipelines.prepare.looking import Seen, Unseen
from data_pipelines.prepare.raw import Part, Picture, Raw, Reject
from data_pipelines.prepare.recipe import Recipe
from data_pipelines.records import Document, Segment, Text


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
        shown = [p for parts in raw.documents for p in parts if isinstance(p, Picture)]
        seen = {
            picture: looking.look(raw.folder, picture, recipe)
            for picture in dict.fromkeys(shown)
        }
        _require_images(raw, corpus, recipe, seen)
    except _Lost as lost:
        yield Reject(raw.file, raw.number, lost.reason, lost.detail, "record")
        return
    for parts in raw.documents:
        try:
            yield from _document(raw, parts, corpus, recipe, seen)
        except _Lost as lost:
            kind = "record" if len(raw.documents) == 1 else "document"
            yield Reject(raw.file, raw.number, lost.reason, lost.detail, kind)


def segments_text(segments: Sequence[Segment]) -> str:
    """All texts of a document, as paragraphs."""
    return "\n\n".join(s.text for s in segments if isinstance(s, Text))


def joined(segments: Iterable[Segment | Picture]) -> tuple[Segment, ...]:
    """Without pictures that are lost; texts around these become one, as paragraphs."""
    found: list[Segment] = []
    gap = False  # a picture was lost after the last segment
    for segment in segments:
        if isinstance(segment, Picture):
            gap = True
            continue
        last = found[-1] if found else None
        if (
            gap
            and isinstance(segment, Text)
            and isinstance(last, Text)
            and segment.loss == last.loss
        ):
            found[-1] = last._replace(text=f"{last.text}\n\n{segment.text}")
        else:
            found.append(segment)
        gap = False
    return tuple(found)


def _require_images(
    raw: Raw, corpus: str, recipe: Recipe, seen: dict[Picture, Seen | Unseen]
) -> None:
    """Raises _Lost or ValueError where images that are left out cost the record."""
    lost = [found for found in seen.values() if isinstance(found, Unseen)]
    missing = [found for found in lost if not found.filtered]
    policy = recipe.settings.missing_image
    if missing and policy == "error":
        reason, detail = missing[0].problem
        raise ValueError(f"{raw.file}: record {raw.number}: {reason}: {detail}")
    if corpus in recipes.NEEDS_IMAGES and lost:
        _require(lost[0].problem)
    if missing and policy == "drop":
        _require(missing[0].problem)


def _document(
    raw: Raw,
    parts: Sequence[Part],
    corpus: str,
    recipe: Recipe,
    seen: dict[Picture, Seen | Unseen],
) -> Iterator[Kept | Reject]:
    """The document, after the images that it loses; or raises _Lost."""
    shown: list[Seen] = []
    segments: list[Segment | Picture] = []  # a picture: it is lost
    rules = recipe.pages if corpus == "interleaved" else None
    for part in parts:
        found = seen[part] if isinstance(part, Picture) else part
        if isinstance(found, Seen) and rules:
            found = _unless_repeated(found, shown)
        if isinstance(found, Unseen):
            yield Reject(raw.file, raw.number, *found.problem, "image")
            segments.append(Picture())
        elif isinstance(found, Seen):
            shown.append(found)
            segments.append(found.image)
        else:
            segments.append(found)
    if rules:
        _require(pages.problem(len(shown), rules))
    yield _kept(raw, joined(segments), shown, corpus, recipe)


def _unless_repeated(found: Seen, shown: Sequence[Seen]) -> Seen | Unseen:
    if all(found.digest != one.digest for one in shown):
        return found
    detail = "the document has shown it before"
    return Unseen(Problem("image_repeated", detail), True)


def _kept(
    raw: Raw,
    segments: tuple[Segment, ...],
    shown: Sequence[Seen],
    corpus: str,
    recipe: Recipe,
) -> Kept:
    """The document of these segments; raises _Lost where the recipe refuses it."""
    texts = [s.text for s in segments if isinstance(s, Text)]
    if not any(text.strip() for text in texts):
        raise _Lost("empty_text", "no text in the document")
    _check_texts(texts, segments, corpus, recipe)
    if recipe.evaluations:
        looks = [Look(one.digest, one.perceptual) for one in shown]
        wordings = [s.synthetic for s in segments if isinstance(s, Text)]
        known = recipes.evaluations(recipe.evaluations, recipe.evaluations_digest)
        _require(decontaminate.contaminated(texts, looks, known))
        _require(decontaminate.contaminated(filter(None, wordings), [], known))
    document = Document(segments, corpus, "", raw.licence, raw.url, raw.meta)
    key = records.document_id(document)
    # All captions of an image are on the same side, whatever they say, and whatever its
    # file was before it was converted.
    decides = shown[0].image.data if corpus == "captions" and shown else key
    traits = _traits(texts, shown, corpus, recipe)
    split, record = side(decides, recipe.heldout), records.encode(document)
    return Kept(split, key, record, traits, raw.file, raw.number)


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


def _require(problem: Problem | None) -> None:
    if problem:
        raise _Lost(problem.reason, problem.detail)

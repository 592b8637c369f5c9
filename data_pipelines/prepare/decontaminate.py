"""What training documents share with evaluation sets, which they must not.

Texts share runs of 13 words, as GPT-3 looked for (Brown et al., 2020, appendix C). An
evaluation text of 8 to 12 words must be found whole; a shorter one proves nothing and
is left aside, as is a run that is mostly numbers ("1 2 3 4 5 6 7 8 9" is an answer of
TextVQA, and in many a document). Images share their bytes, or nearly their looks
(`picture_hash`).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from data_pipelines.prepare import picture_hash, words
from data_pipelines.prepare.filters.base import Problem

RUN = 13  # words
SHORTEST = 8  # words of a text that is looked for as a whole


class Evaluation(NamedTuple):
    """What one evaluation set shows (`evaluation_files.read`)."""

    texts: tuple[str, ...] = ()
    images: tuple["Look", ...] = ()


class Look(NamedTuple):
    """What is known of an image by its hashes."""

    digest: bytes  # of the file, as photos.Photo has it
    perceptual: int | None  # of the upright image (`picture_hash.perceptual`)


class Owned(NamedTuple):
    """Hashes in order, and the set that each was first found in."""

    hashes: np.ndarray  # uint64 [n]
    sets: np.ndarray  # uint32 [n], into Index.names


class Index(NamedTuple):
    """All that is looked for. Never changed; small enough for every worker."""

    names: tuple[str, ...]
    runs: dict[int, Owned]  # of words, by their number
    digests: dict[bytes, int]
    perceptual: Owned
    distance: int  # bits in which near images may differ


def build(
    evaluations: Mapping[str, Evaluation], distance: int = picture_hash.DISTANCE
) -> Index:
    """The index of evaluation sets by name; equal for equal sets in any order."""
    names = tuple(sorted(evaluations))
    runs: dict[int, list[tuple[np.ndarray, int]]] = {}
    digests: dict[bytes, int] = {}
    looks = []
    for number, name in enumerate(names):
        for text in evaluations[name].texts:
            listed = words.words(text)
            length = min(RUN, len(listed))
            if length >= SHORTEST:
                found = _telling(listed, length)
                if len(found):
                    runs.setdefault(length, []).append((found, number))
        for image in evaluations[name].images:
            digests.setdefault(image.digest, number)
            if image.perceptual is not None:
                looks.append((np.array([image.perceptual], np.uint64), number))
    owned = {length: _owned(pairs) for length, pairs in sorted(runs.items())}
    return Index(names, owned, digests, _owned(looks), distance)


def counts(index: Index) -> dict[str, tuple[int, int]]:
    """How many runs of words and images are looked for, by the name of their set.

    A set with neither has only texts that are too short: it can't be found.
    """
    found = {name: [0, 0] for name in index.names}
    for owned in index.runs.values():
        for number in owned.sets:
            found[index.names[number]][0] += 1
    for number in index.digests.values():
        found[index.names[number]][1] += 1
    return {name: (runs, images) for name, (runs, images) in found.items()}


def contaminated(
    texts: Iterable[str], images: Iterable[Look], index: Index
) -> Problem | None:
    """What a document shares with an evaluation set; the reason names the set.

    Texts are read as one, so a run may go on behind an image.
    """
    for image in images:
        found = _image(image, index)
        if found:
            return found
    return _words(words.words(" ".join(texts)), index)


def _telling(listed: list[str], length: int) -> np.ndarray:
    """Hashes of the runs of which at least half the words begin with a letter."""
    letters = np.cumsum([0] + [word[0].isalpha() for word in listed])
    is_telling = 2 * (letters[length:] - letters[:-length]) >= length
    return words.runs(words.hashes(listed), length)[is_telling]


def _words(listed: list[str], index: Index) -> Problem | None:
    hashed = words.hashes(listed)
    for length, owned in index.runs.items():
        looked = words.runs(hashed, length)
        places = np.searchsorted(owned.hashes, looked)
        places[places == len(owned.hashes)] = 0
        hits = np.flatnonzero(owned.hashes[places] == looked)
        if len(hits):
            start = int(hits[0])
            name = index.names[owned.sets[places[start]]]
            shared = " ".join(listed[start : start + length])
            return _problem(name, f"the words {shared!r}")
    return None


def _image(image: Look, index: Index) -> Problem | None:
    if image.digest in index.digests:
        return _problem(index.names[index.digests[image.digest]], "the same image")
    if image.perceptual is None or not len(index.perceptual.hashes):
        return None
    away = picture_hash.distances(image.perceptual, index.perceptual.hashes)
    nearest = int(away.argmin())
    if away[nearest] > index.distance:
        return None
    name = index.names[index.perceptual.sets[nearest]]
    return _problem(name, f"an image that differs in {away[nearest]} of 64 bits")


def _problem(name: str, shared: str) -> Problem:
    return Problem(f"contaminated_{name}", f"has {shared} of {name}")


def _owned(pairs: list[tuple[np.ndarray, int]]) -> Owned:
    """All hashes in order, each once, with the first of the sets that have it."""
    if not pairs:
        return Owned(np.empty(0, np.uint64), np.empty(0, np.uint32))
    every = np.concatenate([found for found, _ in pairs])
    sets = np.repeat([number for _, number in pairs], [len(f) for f, _ in pairs])
    hashes, first = np.unique(every, return_index=True)
    return Owned(hashes, sets[first].astype(np.uint32))

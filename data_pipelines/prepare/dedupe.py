"""What goes because of other documents: near duplicates, images that are everywhere.

Of near duplicate texts the one with the smallest id stays. Captions are near duplicates
if their images are: of these, one stays, with all its captions. An image that more
documents show than the rules allow is cut out of each of them.
"""

import functools
import os
import pathlib
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, NamedTuple

import msgpack
import numpy as np

from data_pipelines import records
from data_pipelines.prepare import (
    convert,
    minhash,
    near,
    parts,
    picture_hash,
    workspace,
)
from data_pipelines.prepare.convert import Kept
from data_pipelines.prepare.parts import Place
from data_pipelines.prepare.raw import Picture, Reject
from data_pipelines.prepare.recipe import Recipe
from data_pipelines.records import Image

TEXT, PICTURE, SHOWN = "text", "picture", "shown"  # what is grouped

Key = tuple[str, str, Hashable]  # corpus, one of the above, what is equal


class Drops(NamedTuple):
    """What is left out, by corpus."""

    texts: dict[str, frozenset[bytes]]  # ids of documents
    pictures: dict[str, frozenset[bytes]]  # digests of pictures and their captions
    everywhere: dict[str, frozenset[bytes]]  # digests of pictures


NONE = Drops({}, {}, {})


def wanted(recipe: Recipe) -> bool:
    """Whether anything is compared at all."""
    return recipe.near_duplicates or recipe.pages is not None


def keys(where: Place, recipe: Recipe) -> Iterator[tuple[Key, Any]]:
    """Under what each document of a part meets others, and what is compared then."""
    corpus = where.corpus
    for key, traits in parts.traits(where):
        if traits.signature:
            signature = np.frombuffer(traits.signature, "<u4")
            for band in minhash.bands(signature):
                yield (corpus, TEXT, band), (key, traits.signature)
        if corpus == "captions" and recipe.near_duplicates:
            for digest, hashed in traits.pictures:
                for one in picture_hash.keys(hashed) if hashed is not None else ():
                    yield (corpus, PICTURE, one), (digest, hashed)
        if corpus == "interleaved" and recipe.pages is not None:
            for digest, _ in traits.pictures:
                yield (corpus, SHOWN, digest), key


class Compared(NamedTuple):
    """What became of a group, or of several."""

    values: int  # that were in it
    edges: list[tuple[str, str, Any, Any]]  # corpus, what, smaller, larger


def compare(group: tuple[Key, Iterable[Any]], recipe: Recipe) -> Compared:
    """Edges between all that is near in a group; of what is everywhere, to itself."""
    (corpus, what, equal), values = group[0], list(group[1])
    edges: list[tuple[Any, Any]]
    if what == SHOWN:
        assert recipe.pages is not None
        often = len(set(values)) > recipe.pages.max_appearances
        edges = [(equal, equal)] if often else []
    elif what == TEXT:
        signed = [(key, np.frombuffer(data, "<u4")) for key, data in values]
        edges = near.text_edges(signed)
    else:
        edges = near.picture_edges(values)
    listed = [(corpus, what, *sorted(edge)) for edge in edges]
    return Compared(len(values), listed)


def decide(found: Iterable[tuple[str, str, Any, Any]]) -> Drops:
    """What goes, from all that was found."""
    edges: dict[tuple[str, str], set[tuple[bytes, bytes]]] = {}
    for corpus, what, one, other in found:
        edges.setdefault((corpus, what), set()).add((one, other))

    def dropped(wanted: str) -> dict[str, frozenset[bytes]]:
        return {
            corpus: frozenset(near.components(pairs))
            for (corpus, what), pairs in edges.items()
            if what == wanted
        }

    everywhere = {
        corpus: frozenset(one for one, _ in pairs)
        for (corpus, what), pairs in edges.items()
        if what == SHOWN
    }
    return Drops(dropped(TEXT), dropped(PICTURE), everywhere)


def save(path: pathlib.Path, drops: Drops) -> None:
    """Writes what goes; equal drops give equal bytes."""
    listed = [
        {corpus: sorted(found) for corpus, found in sorted(part.items())}
        for part in drops
    ]
    workspace.write(path, msgpack.Packer().pack(listed))


def load(path: str) -> Drops:
    """What `save` wrote; nothing for an empty path. Kept for the next call."""
    if not path:
        return NONE
    state = os.stat(path)
    return _load(path, state.st_ino, state.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _load(path: str, *state: int) -> Drops:
    del state  # what tells the file from an earlier one
    listed = msgpack.unpackb(pathlib.Path(path).read_bytes())
    return Drops(
        *({corpus: frozenset(found) for corpus, found in p.items()} for p in listed)
    )


def survivors(where: Place, drops: Drops, heldout: float) -> Iterator[Kept | Reject]:
    """The part's documents that stay, and why others don't."""
    texts, pictures, everywhere = (p.get(where.corpus, frozenset()) for p in drops)
    for kept, (key, traits) in zip(parts.read(where), parts.traits(where)):
        assert key == kept.key
        digests = [digest for digest, _ in traits.pictures]
        if key in texts or any(digest in pictures for digest in digests):
            what = "text" if key in texts else "image"
            detail = f"its {what} is nearly that of another document"
            yield Reject(kept.file, kept.number, "near_duplicate", detail, "document")
        elif any(digest in everywhere for digest in digests):
            yield from _cut(kept, [one in everywhere for one in digests], heldout)
        else:
            yield kept


def _cut(kept: Kept, gone: list[bool], heldout: float) -> Iterator[Kept | Reject]:
    """The document without some of its images."""
    document = records.decode(kept.record)
    image = iter(gone)
    left = convert.joined(
        Picture() if isinstance(segment, Image) and next(image) else segment
        for segment in document.segments
    )
    reason, detail = "image_appearances", "the image is in too many documents"
    for _ in range(sum(gone)):
        yield Reject(kept.file, kept.number, reason, detail, "image")
    if not any(isinstance(segment, Image) for segment in left):
        detail = "all of its images are in too many documents"
        yield Reject(kept.file, kept.number, reason, detail, "document")
        return
    changed = document._replace(segments=left)
    key = records.document_id(changed)
    # It may now be the same as another one, which must be on the same side.
    split, record = convert.side(key, heldout), records.encode(changed)
    yield kept._replace(split=split, key=key, record=record)

"""Prepared shards written again with synthetic wordings: all of it, or nothing.

New shards have names of their own. A folder changes from the old ones to the new ones
when its manifest is replaced, in one step; whenever it is opened, it is whole. The old
ones then go away, so no training should be reading them.
"""

import os
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from data_pipelines import index, records, shards
from data_pipelines.records import Document, Image, Text
from data_pipelines.shard_reader import ShardReader
from data_pipelines.tokenizer import Tokenizer

_BESIDE = ".rewording"  # the folder inside of the folder that the new one grows in
_SUFFIX = ".array_record"

Wording = Callable[[bytes], str]  # of a document's id; empty: no other than it has


def is_caption(document: Document) -> bool:
    """Whether the document is one image and one text."""
    kinds = [type(segment) for segment in document.segments]
    return len(kinds) == 2 and set(kinds) == {Image, Text}


def reword(
    folder: pathlib.Path,
    wording: Wording,
    facts: Mapping[str, Any],
    words: Tokenizer,
    workers: int = 1,
) -> dict:
    """Gives the captions of a prepared folder their wordings; returns its manifest.

    `facts` become "recaption" in the manifest's "extra", with the number of synthetic
    wordings. The new shards are indexed for the tokenizer.
    """
    old = shards.read_manifest(folder)
    beside = folder / _BESIDE
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    reader = ShardReader(folder)
    infos, start, count = [], 0, 0
    for number, info in enumerate(old["shards"]):
        stop = start + info["records"]
        made, with_one = _shard(reader, range(start, stop), number, beside, wording)
        infos.append(_named(folder, info, made))
        start, count = stop, count + with_one
    extra = {**old["extra"], "recaption": {**facts, "synthetic": count}}
    manifest = shards.write_manifest(beside, infos, extra)
    index.build(beside, words, workers=workers)
    _commit(folder, beside, infos)
    return manifest


def _shard(
    reader: ShardReader,
    numbers: range,
    number: int,
    beside: pathlib.Path,
    wording: Wording,
) -> tuple[dict, int]:
    """Writes one shard again; what it holds, and how many synthetic wordings."""
    keyed, count = [], 0
    for record in numbers:
        document = reader.document(record)
        key = records.document_id(document)
        document = _reworded(document, wording(key))
        count += any(isinstance(s, Text) and s.synthetic for s in document.segments)
        keyed.append((key, records.encode(document)))
    total = len(reader.manifest["shards"])
    return shards.write_shard(beside, number, total, keyed), count


def _reworded(document: Document, wording: str) -> Document:
    if not wording or not is_caption(document):
        return document
    return document._replace(
        segments=tuple(
            s._replace(synthetic=wording) if isinstance(s, Text) else s
            for s in document.segments
        )
    )


def _named(folder: pathlib.Path, old: dict, made: dict) -> dict:
    """The new shard under a name that its content gives it.

    One that is as it was stays where it is, with its indexes; a link stands for it.
    """
    path = folder / _BESIDE / made["file"]
    if made["sha256"] == old["sha256"]:
        path.unlink()
        for kept in (folder / old["file"], *folder.glob(f"{_stem(old)}.index-*.npz")):
            (path.parent / kept.name).symlink_to(pathlib.Path("..") / kept.name)
        return old
    name = f"{made['file'].removesuffix(_SUFFIX)}.{made['sha256'][:12]}{_SUFFIX}"
    path.rename(path.with_name(name))
    return {**made, "file": name, "duplicates": old["duplicates"]}


def _commit(folder: pathlib.Path, beside: pathlib.Path, infos: list[dict]) -> None:
    """Moves what is new into the folder, its manifest last, and clears up."""
    manifest = beside / shards.MANIFEST
    for path in sorted(beside.iterdir()):
        if path != manifest and not path.is_symlink():
            _on_disk(path)
            path.replace(folder / path.name)
    _on_disk(manifest)
    manifest.replace(folder / shards.MANIFEST)
    stems = {_stem(info) for info in infos}
    for path in folder.glob("shard-*"):
        if path.name.split(".index-")[0].removesuffix(_SUFFIX) not in stems:
            path.unlink()
    shutil.rmtree(beside)


def _on_disk(path: pathlib.Path) -> None:
    """The old shards go when the new ones can't be lost any more."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _stem(info: dict) -> str:
    return info["file"].removesuffix(_SUFFIX)

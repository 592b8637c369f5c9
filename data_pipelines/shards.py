"""Shards: a corpus as ArrayRecord files and a manifest.

A record goes to the shard that its document's content hash names and is sorted by it
there, so the same documents give the same bytes, whatever engine wrote them.
"""

import collections
import errno
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from array_record.python import (
    array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
)

import mmjax
from data_pipelines import deadline, paths, records
from data_pipelines.records import Document, Image, Text

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FORMAT = 1
_MAX_KINDS = 256  # an index stores a kind in one byte
_NONE: collections.Counter[str] = collections.Counter()


def write(
    directory: str | pathlib.Path,
    documents: Iterable[Document],
    shards: int,
    extra: dict[str, Any] | None = None,
) -> dict:
    """Writes the documents (all held in memory) and returns the manifest.

    Documents with the same content are kept once, and counted. The manifest, which has
    `extra` as its "extra", is written last: a folder without one isn't done.
    """
    if shards < 1:
        raise ValueError(f"shards={shards}: must be positive")
    parts = [[] for _ in range(shards)]
    for document in documents:
        key = records.document_id(document)
        parts[shard_of(key, shards)].append((key, records.encode(document)))
    infos = [write_shard(directory, i, shards, part) for i, part in enumerate(parts)]
    return write_manifest(directory, infos, extra)


def shard_of(key: bytes, shards: int) -> int:
    """The shard that a document of this id belongs to."""
    return int.from_bytes(key[:8], "big") % shards


def shard_name(number: int, shards: int) -> str:
    """File name of a shard."""
    return f"shard-{number:05d}-of-{shards:05d}.array_record"


def write_shard(
    directory: str | pathlib.Path,
    number: int,
    shards: int,
    keyed: Iterable[tuple[bytes, bytes]],
) -> dict:
    """Writes one shard of (document id, record) pairs; returns what it holds."""
    unique: dict[bytes, bytes] = {}
    given = 0
    for key, record in keyed:
        given += 1
        # Equal content may come with different labels; the smallest record stays, so
        # that the order of arrival doesn't matter.
        unique[key] = min(unique.get(key, record), record)
    ordered = [unique[key] for key in sorted(unique)]
    counts = _count(ordered)
    path = pathlib.Path(directory) / shard_name(number, shards)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    # JPEGs don't compress. One record a group keeps a random read O(1).
    codec = "uncompressed" if counts["images"] else "zstd"
    write_records(part, ordered, codec)
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = part.stat().st_size
    part.replace(path)
    return {
        "file": path.name,
        "bytes": size,
        "sha256": digest,
        "records": len(ordered),
        "duplicates": given - len(ordered),
        **counts,
    }


def write_records(path: pathlib.Path, found: Iterable[bytes], codec: str) -> None:
    """Writes an ArrayRecord file; `codec` is "uncompressed" or "zstd".

    Raises OSError where the system refuses, such as for a full disk.
    """
    try:
        writer = array_record_module.ArrayRecordWriter(
            str(path), f"group_size:1,{codec}"
        )
    except RuntimeError as error:
        raise OSError(errno.EIO, str(error), str(path)) from error
    for record in found:
        writer.write(record)
    try:
        writer.close()
    except RuntimeError as error:  # all that writing in the background ran into
        full = os.strerror(errno.ENOSPC)
        number = errno.ENOSPC if full in str(error) else errno.EIO
        reason = full if number == errno.ENOSPC else str(error).split(";")[0]
        raise OSError(number, reason, str(path)) from error


def _count(ordered: Sequence[bytes]) -> dict:
    """Images, characters of text, kinds and licences of a shard's records."""
    totals, kinds, licences = (collections.Counter() for _ in range(3))
    for document in map(records.decode, ordered):
        kinds[document.kind] += 1
        licences[document.licence] += 1
        for segment in document.segments:
            totals["images"] += isinstance(segment, Image)
            totals["text"] += len(segment.text) if isinstance(segment, Text) else 0
    return {
        "images": totals["images"],
        "characters": totals["text"],
        "kinds": dict(sorted(kinds.items())),
        "licences": dict(sorted(licences.items())),
    }


def write_manifest(
    directory: str | pathlib.Path,
    shard_infos: Sequence[dict],
    extra: dict[str, Any] | None = None,
) -> dict:
    """Writes and returns the manifest of shards that `write_shard` described."""
    infos = sorted(shard_infos, key=lambda info: info["file"])
    summed = ("records", "bytes", "duplicates", "images", "characters")
    totals: dict[str, Any] = {name: sum(i[name] for i in infos) for name in summed}
    for name in ("kinds", "licences"):
        counter = sum((collections.Counter(i[name]) for i in infos), _NONE)
        totals[name] = dict(sorted(counter.items()))
    kinds = len(totals["kinds"])
    if kinds > _MAX_KINDS:
        raise ValueError(
            f"{directory}: {kinds} kinds of documents: at most {_MAX_KINDS}"
        )
    manifest = {
        "format": FORMAT,
        "record_version": records.VERSION,
        "code_version": mmjax.__version__,
        **totals,
        "shards": infos,
        "extra": extra or {},
    }
    path = pathlib.Path(directory) / MANIFEST
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    part.replace(path)
    return manifest


def read_manifest(directory: str | pathlib.Path) -> dict:
    """The manifest of a folder of shards; ValueError where there is none."""
    folder = paths.of(directory)
    path = folder / MANIFEST
    try:
        with deadline.opening(path):
            if not folder.is_dir():
                raise ValueError(f"{directory}: no such folder of shards")
            if not path.exists():
                raise ValueError(
                    f"{directory}: no {MANIFEST}, so no (complete) prepared corpus"
                )
            text = path.read_text()
    except OSError as error:
        raise ValueError(f"{path}: can't be read ({error})") from error
    try:
        manifest = json.loads(text)
        version = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a manifest ({error!r})") from error
    if version != FORMAT:
        raise ValueError(f"{path}: format {version}: this program reads {FORMAT}")
    return manifest

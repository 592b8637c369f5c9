"""Damage to prepared shards that a run may meet, one record at a time."""

import json
import pathlib

from array_record.python import array_record_module

from data_pipelines import records, shards
from data_pipelines.records import Document, Image, Text
from data_pipelines.shard_reader import ShardReader


def harm(folder: pathlib.Path, wounds: dict[int, str]) -> None:
    """Damages records by number: each gets a fault of a reason of `faults.REASONS`.

    The manifest fits the new files, so nothing shows before a record is read.
    """
    reader = ShardReader(folder)
    manifest = reader.manifest
    number = 0
    for info in manifest["shards"]:
        path, flips, parts = folder / info["file"], [], []
        for _ in range(info["records"]):
            data = reader.read(number)
            reason = wounds.get(number, "")
            parts.append(_WOUNDS[reason](data) if reason in _WOUNDS else data)
            if reason == "corrupt":
                flips.append(data)
            number += 1
        _write(path, parts)
        content = bytearray(path.read_bytes())
        for data in flips:
            content[content.index(data) + len(data) // 2] ^= 255
        path.write_bytes(content)
        info["bytes"] = len(content)
    (folder / shards.MANIFEST).write_text(json.dumps(manifest))


def _write(path: pathlib.Path, parts: list[bytes]) -> None:
    path.unlink()
    writer = array_record_module.ArrayRecordWriter(
        str(path), "group_size:1,uncompressed"
    )
    for part in parts:
        writer.write(part)
    writer.close()


def _cut_image(data: bytes) -> bytes:
    document = records.decode(data)
    segments = [
        s._replace(data=s.data[: len(s.data) // 2]) if isinstance(s, Image) else s
        for s in document.segments
    ]
    return records.encode(document._replace(segments=tuple(segments)))


def _other_words(data: bytes) -> bytes:
    document = records.decode(data)
    segments = [
        s._replace(text=s.text + " and more") if isinstance(s, Text) else s
        for s in document.segments
    ]
    return records.encode(document._replace(segments=tuple(segments)))


def _fewer_segments(data: bytes) -> bytes:
    return records.encode(Document(records.decode(data).segments[1:]))


_WOUNDS = {
    "image": _cut_image,
    "mismatch": _other_words,
    "fewer": _fewer_segments,  # a mismatch, too
    "not_a_record": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",  # not a record, either
}

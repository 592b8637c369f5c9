"""Parts: what became of one unit of input, on disk, so that it is done only once.

A part has four files: records (msgpack [split, key, record, file, number], as an
ArrayRecord), traits (msgpack [key, signature, pictures] one after the other), rejects
(JSON lines), and facts, which appear last: a part without facts isn't done.
"""

import collections
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgpack
from array_record.python import (
    array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
)

from data_pipelines.prepare import convert
from data_pipelines.prepare import recipe as recipes
from data_pipelines.prepare.convert import Kept, Traits
from data_pipelines.prepare.formats.registry import FORMATS
from data_pipelines.prepare.raw import Reject, Unit
from data_pipelines.prepare.recipe import Recipe

_BATCH = 64  # records that are read at a time


class Job(NamedTuple):
    """One unit of input, and where its part lies."""

    corpus: str
    unit: Unit
    recipe: Recipe
    folder: str
    name: str  # of the part's files, without their endings


class Place(NamedTuple):
    """Where a part lies."""

    folder: str
    name: str
    corpus: str


def job(corpus: str, unit: Unit, recipe: Recipe, folder: pathlib.Path) -> Job:
    """A unit's job; a changed file or recipe gives it another name."""
    state = os.stat(unit.file)
    facts = (corpus, unit, recipes.digest(recipe), state.st_size, state.st_mtime_ns)
    name = hashlib.blake2b(repr(facts).encode(), digest_size=12).hexdigest()
    return Job(corpus, unit, recipe, str(folder), f"{corpus}-{name}")


def place(job: Job) -> Place:
    return Place(job.folder, job.name, job.corpus)


def make(job: Job) -> Place:
    """Reads, converts and writes a unit, unless that is done already.

    Where the unit can't be read at all, the part has an error instead of facts.
    """
    where = place(job)
    if done(where):
        return where
    try:
        _write(where, _found(job))
    except ValueError as error:
        _file(where, "error").write_text(str(error), encoding="utf-8")
    else:
        _file(where, "error").unlink(missing_ok=True)
    return where


def done(where: Place) -> bool:
    """Whether the part is there."""
    return _file(where, "facts.json").exists()


def require_done(where: Place) -> None:
    """Raises ValueError, saying why, where a part has no facts."""
    if done(where):
        return
    error = _file(where, "error")
    raise ValueError(error.read_text() if error.exists() else f"{where.name}: not done")


def facts(where: Place) -> dict:
    """{"records": {split: count}, "bytes": {split: count}} of a part that is done."""
    return json.loads(_file(where, "facts.json").read_text())


def read(where: Place) -> Iterator[Kept]:
    """The part's documents, in order, without their traits."""
    options = "readahead_buffer_size:0,max_parallelism:0"
    reader = array_record_module.ArrayRecordReader(
        str(_file(where, "records")), options
    )
    count = reader.num_records()
    for start in range(0, count, _BATCH):
        for data in reader.read(start, min(start + _BATCH, count)):
            split, key, record, file, number = msgpack.unpackb(data)
            yield Kept(split, key, record, Traits(b"", ()), file, number)


def traits(where: Place) -> Iterator[tuple[bytes, Traits]]:
    """Keys and traits of the part's documents, in order."""
    with _file(where, "traits").open("rb") as file:
        for key, signature, pictures in msgpack.Unpacker(file, max_buffer_size=0):
            yield key, Traits(signature, tuple(map(tuple, pictures)))


def rejects(where: Place) -> Iterator[str]:
    """Lines of JSON: what was left out of the part, also because of other documents."""
    for ending in ("rejects.jsonl", "dropped.jsonl"):
        path = _file(where, ending)
        if path.exists():
            with path.open(encoding="utf-8") as lines:
                yield from lines


def write_dropped(where: Place, dropped: Iterable[Reject]) -> None:
    """Writes what other documents cost the part, for `rejects`."""
    path = _file(where, "dropped.jsonl")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        for reject in dropped:
            file.write(json.dumps(reject._asdict()) + "\n")
    part.replace(path)


def _found(job: Job) -> Iterator[Kept | Reject]:
    form = FORMATS[job.unit.format]
    for raw in form.read(job.unit, job.recipe.settings):
        if isinstance(raw, Reject):
            yield raw
        else:
            yield from convert.documents(raw, job.corpus, job.recipe)


def _write(where: Place, found: Iterator[Kept | Reject]) -> None:
    pathlib.Path(where.folder).mkdir(parents=True, exist_ok=True)
    counts, sizes = collections.Counter(), collections.Counter()
    # Another attempt may write at the same time: the engine's business is to retry.
    unique = f"{os.getpid()}.part"
    names = {end: _file(where, f"{end}.{unique}") for end in _ENDINGS}
    options = "group_size:1,uncompressed"
    writer = array_record_module.ArrayRecordWriter(str(names["records"]), options)
    packer = msgpack.Packer()
    with (
        names["traits"].open("wb") as traits_file,
        names["rejects.jsonl"].open("w", encoding="utf-8") as rejects_file,
    ):
        for one in found:
            if isinstance(one, Reject):
                rejects_file.write(json.dumps(one._asdict()) + "\n")
                continue
            values = (one.split, one.key, one.record, one.file, one.number)
            writer.write(packer.pack(values))
            traits_file.write(packer.pack((one.key, *one.traits)))
            counts[one.split] += 1
            sizes[one.split] += len(one.record)
    writer.close()
    facts = {
        "records": dict(sorted(counts.items())),
        "bytes": dict(sorted(sizes.items())),
    }
    names["facts.json"].write_text(json.dumps(facts))
    for end in _ENDINGS:
        names[end].replace(_file(where, end))


_ENDINGS = ("records", "traits", "rejects.jsonl", "facts.json")  # facts are last


def _file(where: Place, ending: str) -> pathlib.Path:
    return pathlib.Path(where.folder, f"{where.name}.{ending}")

"""Parts: what became of one unit of input, on disk, so that it is done only once.

A part has four files: records (msgpack [split, key, record, file, number], as an
ArrayRecord), traits (msgpack [key, signature, pictures] one after the other), rejects
(JSON lines), and facts (`Facts`), which appear last: a part without them isn't done.
"""

import collections
import hashlib
import json
import os
import pathlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgpack

from data_pipelines import shard_files, shards
from data_pipelines.prepare import convert, workspace
from data_pipelines.prepare import recipe as recipes
from data_pipelines.prepare.convert import Kept, Traits
from data_pipelines.prepare.formats.registry import FORMATS
from data_pipelines.prepare.raw import Picture, Reject, Unit
from data_pipelines.prepare.recipe import Recipe

_BATCH = 64  # records that are read at a time
_DROPPED = "dropped.jsonl"  # rejects because of other documents
_COMPARED = "compared.json"  # how many keys went to be compared
_GIVEN = "given.json"  # documents that went to each shard, which is to hold so many


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


class Facts(NamedTuple):
    """What a part holds, and what became of what was read for it.

    Of documents, read = the sum of records + the sum of lost.
    """

    records: dict[str, int]  # documents that were kept, by split
    bytes: dict[str, int]  # of these, by split
    read: dict[str, int]  # records, documents, images; a record may have several
    lost: dict[str, int]  # documents that were left out, by reason


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
        _write(job)
    except ValueError as error:
        workspace.write(_file(where, "error"), str(error).encode())
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
    if not error.exists():
        raise RuntimeError(f"{where.name}: the runner ended without this part")
    raise ValueError(error.read_text(encoding="utf-8"))


def facts(where: Place) -> Facts:
    """The facts of a part that is done."""
    return Facts(**json.loads(_file(where, "facts.json").read_text()))


def read(where: Place) -> Iterator[Kept]:
    """The part's documents, in order, without their traits."""
    reader = shard_files.open_shard(_file(where, "records"))
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


def rejects(where: Place) -> list[Reject]:
    """What was left out of the part, also because of other documents; sorted."""
    return sorted([*_rejects(where, "rejects.jsonl"), *_rejects(where, _DROPPED)])


def dropped(where: Place) -> dict[str, int]:
    """How many of the part's documents went because of others, by reason."""
    whole = (r.reason for r in _rejects(where, _DROPPED) if r.lost == "document")
    return dict(collections.Counter(whole))


def write_dropped(where: Place, found: Iterable[Reject]) -> None:
    """Writes what other documents cost the part, for `rejects`."""
    data = "".join(map(line, found)).encode()
    workspace.write(_file(where, _DROPPED), data)


def write_compared(where: Place, count: int) -> None:
    """Writes how many keys of the part's documents went to be compared."""
    workspace.write(_file(where, _COMPARED), json.dumps(count).encode())


def compared(where: Place) -> int:
    """What `write_compared` wrote."""
    return json.loads(_file(where, _COMPARED).read_bytes())


def write_given(where: Place, counts: Mapping[tuple[str, int], int]) -> None:
    """Writes how many documents went from the part to each shard (split, number)."""
    listed = [[*shard, count] for shard, count in sorted(counts.items())]
    workspace.write(_file(where, _GIVEN), json.dumps(listed).encode())


def given(where: Place) -> dict[tuple[str, int], int] | None:
    """What `write_given` wrote; None where it wasn't called."""
    path = _file(where, _GIVEN)
    if not path.exists():
        return None
    return {(split, n): count for split, n, count in json.loads(path.read_bytes())}


def _rejects(where: Place, ending: str) -> Iterator[Reject]:
    path = _file(where, ending)
    if path.exists():
        with path.open(encoding="utf-8") as lines:
            yield from (Reject(**json.loads(one)) for one in lines)


def line(reject: Reject) -> str:
    """The reject as a line of a list of rejects."""
    return json.dumps(reject._asdict()) + "\n"


def _found(job: Job, read: collections.Counter, lost: collections.Counter):
    """Documents and rejects of the unit; counts what is read, and lost of it."""
    form = FORMATS[job.unit.format]
    for raw in form.read(job.unit, job.recipe.settings):
        if isinstance(raw, Reject):
            read["records"] += raw.lost == "record"
            yield raw
            continue
        parts = [part for document in raw.documents for part in document]
        images = sum(isinstance(part, Picture) for part in parts)
        read.update(records=1, documents=len(raw.documents), images=images)
        for found in convert.documents(raw, job.corpus, job.recipe):
            if isinstance(found, Reject):
                whole = len(raw.documents) if found.lost == "record" else 1
                lost[found.reason] += whole * (found.lost in ("record", "document"))
            yield found


def _write(job: Job) -> None:
    where = place(job)
    pathlib.Path(where.folder).mkdir(parents=True, exist_ok=True)
    read, lost = collections.Counter(), collections.Counter()
    counts, sizes = collections.Counter(), collections.Counter()
    # Another attempt may write at the same time: the engine's business is to retry.
    unique = f"{uuid.uuid4().hex}.part"
    names = {end: _file(where, f"{end}.{unique}") for end in _ENDINGS}
    packer = msgpack.Packer()
    with (
        names["traits"].open("wb") as traits_file,
        names["rejects.jsonl"].open("w", encoding="utf-8") as rejects_file,
    ):

        def packed() -> Iterator[bytes]:
            for one in _found(job, read, lost):
                if isinstance(one, Reject):
                    rejects_file.write(line(one))
                    continue
                counts[one.split] += 1
                sizes[one.split] += len(one.record)
                traits_file.write(packer.pack((one.key, *one.traits)))
                values = (one.split, one.key, one.record, one.file, one.number)
                yield packer.pack(values)

        shards.write_records(names["records"], packed(), "uncompressed")
    facts = Facts(*(dict(sorted(c.items())) for c in (counts, sizes, read, +lost)))
    names["facts.json"].write_text(json.dumps(facts._asdict()))
    for end in _ENDINGS:
        names[end].replace(_file(where, end))


_ENDINGS = ("records", "traits", "rejects.jsonl", "facts.json")  # facts are last


def _file(where: Place, ending: str) -> pathlib.Path:
    return pathlib.Path(where.folder, f"{where.name}.{ending}")

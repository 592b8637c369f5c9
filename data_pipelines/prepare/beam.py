"""The stages of a preparation on Apache Beam (which only this and `runners` import).

Stages are plain functions that write files; a file that is there isn't written again.
Shards are sorted, so no byte depends on the runner, its workers or their order.
"""

import collections
import functools
import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam

from data_pipelines import shards
from data_pipelines.prepare import dedupe, parts, runners, workspace
from data_pipelines.prepare.convert import Kept
from data_pipelines.prepare.parts import Job, Place
from data_pipelines.prepare.raw import Reject
from data_pipelines.prepare.recipe import Recipe
from data_pipelines.prepare.runners import Engine
from data_pipelines.prepare.workspace import Workspace


class Shard(NamedTuple):
    """One shard of a folder CORPUS/SPLIT."""

    corpus: str
    split: str
    number: int
    total: int  # shards of the folder


def make_parts(jobs: Sequence[Job], engine: Engine) -> None:
    """Reads and converts every unit (`parts.make`)."""
    with runners.pipeline(engine) as pipeline:
        _ = (
            pipeline
            | "units" >> apache_beam.Create(list(jobs))
            | "spread" >> apache_beam.Reshuffle()
            | "read" >> _flat_map(_make)
        )


def find_drops(
    places: Sequence[Place], recipe: Recipe, engine: Engine, path: pathlib.Path
) -> None:
    """Writes what goes because of other documents (`dedupe.save`).

    Writes nothing where a runner lost some of what was to be compared.
    """
    with runners.pipeline(engine) as pipeline:
        _ = (
            [
                pipeline
                | "parts" >> apache_beam.Create(list(places))
                | "spread" >> apache_beam.Reshuffle()
                | "keys" >> _flat_map(_keys, recipe)
                | "equal" >> apache_beam.GroupByKey()
                | "near" >> _flat_map(_near, recipe),
                pipeline
                | "nothing" >> apache_beam.Create([(0, dedupe.Compared(0, []))]),
            ]
            | apache_beam.Flatten()
            | "all" >> apache_beam.CombinePerKey(_All())
            | "decide" >> _flat_map(_decide, str(path), list(places))
        )


def write_shards(
    places: Sequence[Place],
    drops: str,
    heldout: float,
    wanted: Sequence[Shard],
    todo: Sequence[Shard],
    space: Workspace,
    engine: Engine,
) -> None:
    """Writes shards of those that are wanted in all, and notes the facts of each."""
    counts = {(one.corpus, one.split): one.total for one in wanted}
    with runners.pipeline(engine) as pipeline:
        _ = (
            [
                pipeline
                | "parts" >> apache_beam.Create(list(places))
                | "spread" >> apache_beam.Reshuffle()
                | "place"
                >> _flat_map(_placed, drops, heldout, counts, frozenset(todo)),
                pipeline
                | "shards" >> apache_beam.Create([(tuple(one), None) for one in todo]),
            ]
            | apache_beam.Flatten()
            | "by shard" >> apache_beam.GroupByKey()
            | "write" >> _flat_map(_write_shard, space)
        )


def unfinished(
    places: Sequence[Place], wanted: Sequence[Shard], space: Workspace
) -> dict[Shard, str]:
    """Shards that aren't there, or lack documents of the parts, and what is wrong.

    A runner may lose what is on its way between two processes, and say nothing.
    """
    sent = collections.Counter()
    told = True
    for where in places:
        counts = parts.given(where)
        told &= counts is not None
        for (split, number), count in (counts or {}).items():
            sent[where.corpus, split, number] += count
    found = {}
    for one in wanted:
        path = info_path(space, one)
        if not path.exists() or not told:
            found[one] = "isn't there"
            continue
        info = json.loads(path.read_bytes())
        arrived = info["records"] + info["duplicates"]
        due = sent[one.corpus, one.split, one.number]
        if arrived != due:
            found[one] = f"got {arrived} documents of {due}"
    return found


def info_path(space: Workspace, shard: Shard) -> pathlib.Path:
    """Where the facts of a finished shard lie."""
    name = shards.shard_name(shard.number, shard.total)
    return space.parts / f"{shard.corpus}-{shard.split}-{name}.json"


def _flat_map(function, *arguments):
    # Beam would derive coders from the annotations; these elements are just pickled.
    return apache_beam.FlatMap(function, *arguments).with_output_types(Any)


def _make(job: Job) -> Iterator[str]:
    yield parts.make(job).name


def _keys(where: Place, recipe: Recipe) -> Iterator[tuple[dedupe.Key, Any]]:
    count = 0
    for pair in dedupe.keys(where, recipe):
        count += 1
        yield pair
    parts.write_compared(where, count)


def _near(group: Any, recipe: Recipe) -> Iterator[tuple[int, dedupe.Compared]]:
    yield 0, dedupe.compare(group, recipe)


class _All(apache_beam.CombineFn):
    """All that was compared, as one."""

    def create_accumulator(self) -> dedupe.Compared:
        return dedupe.Compared(0, [])

    def add_input(self, mutable_accumulator, element):
        values, edges = mutable_accumulator
        edges.extend(element.edges)
        return dedupe.Compared(values + element.values, edges)

    def merge_accumulators(self, accumulators):
        return functools.reduce(self.add_input, accumulators, self.create_accumulator())

    def extract_output(self, accumulator):
        return accumulator


def _decide(
    element: tuple[int, dedupe.Compared], path: str, places: Sequence[Place]
) -> Iterator[str]:
    found = element[1]
    if found.values == sum(map(parts.compared, places)):
        dedupe.save(pathlib.Path(path), dedupe.decide(found.edges))
    yield path


def _placed(
    where: Place,
    drops: str,
    heldout: float,
    counts: dict[tuple[str, str], int],
    todo: frozenset[Shard],
) -> Iterator[tuple[tuple, tuple[bytes, bytes]]]:
    dropped: list[Reject] = []
    given: collections.Counter[tuple[str, int]] = collections.Counter()
    for found in dedupe.survivors(where, dedupe.load(drops), heldout):
        if isinstance(found, Kept):
            count = counts[where.corpus, found.split]
            number = shards.shard_of(found.key, count)
            shard = Shard(where.corpus, found.split, number, count)
            given[found.split, number] += 1
            if shard in todo:
                yield tuple(shard), (found.key, found.record)
        else:
            dropped.append(found)
    parts.write_dropped(where, dropped)
    parts.write_given(where, given)


def _write_shard(element: tuple[tuple, Iterable], space: Workspace) -> Iterator[str]:
    shard = Shard(*element[0])
    given = [pair for pair in element[1] if pair is not None]
    home = space.result / shard.corpus / shard.split
    info = shards.write_shard(home, shard.number, shard.total, given)
    path = info_path(space, shard)
    workspace.write(path, json.dumps(info).encode())
    yield path.name

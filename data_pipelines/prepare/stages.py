"""The stages of a preparation, each done once: what is on disk isn't made again."""

import collections
import importlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from data_pipelines.prepare import dedupe, parts, progress
from data_pipelines.prepare.parts import Job, Place
from data_pipelines.prepare.recipe import SPLITS, Recipe
from data_pipelines.prepare.workspace import Workspace

_SHARD_RECORDS = 10_000
_SHARD_BYTES = 2**30
_ATTEMPTS = 3  # to get all documents to where they are compared, or into a shard


class Work(NamedTuple):
    """What the stages of one preparation share."""

    beam: Any  # the module `beam`
    engine: Any  # a runners.Engine
    space: Workspace
    say: Callable[[str], None]


def on_beam() -> tuple[Any, Any]:
    """The modules `runners` and `beam`; ValueError where Beam isn't installed."""
    level = logging.root.manager.disable
    try:
        logging.disable(logging.WARNING)  # about parts of Beam that aren't used here
        names = ("runners", "beam")
        home = "data_pipelines.prepare"
        runners, beam = (importlib.import_module(f"{home}.{name}") for name in names)
        return runners, beam
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "apache_beam":
            raise
        raise ValueError(
            "Apache Beam is not installed: run  pip install 'mmjax[prepare]'"
        ) from error
    finally:
        logging.disable(level)


def make_parts(work: Work, jobs: Sequence[Job]) -> None:
    """Reads and converts all units; ValueError, saying why, where one can't be."""
    space, say = work.space, work.say
    todo = [job for job in jobs if not parts.done(parts.place(job))]
    if todo:
        with progress.of_files(
            space.parts, "facts.json", len(jobs), "reading", [space.parts], say
        ):
            work.beam.make_parts(todo, work.engine)
    for job in jobs:
        parts.require_done(parts.place(job))


def find_drops(work: Work, places: Sequence[Place], recipe: Recipe) -> str:
    """The file of what goes because of other documents; empty: nothing does.

    Raises ValueError where what is compared is lost on the way, again and again.
    """
    if not dedupe.wanted(recipe):
        return ""
    path = work.space.parts / "drops.msgpack"
    for _ in range(_ATTEMPTS):
        if path.exists():
            break
        work.say("comparing documents")
        work.beam.find_drops(places, recipe, work.engine, path)
        if not path.exists():
            work.say("the runner lost some of what is compared on its way")
    if not path.exists():
        raise ValueError(
            f"the runner lost some of what is compared {_ATTEMPTS} times; "
            "the same command goes on from here"
        )
    return str(path)


def shards(
    work: Work, places: Sequence[Place], corpora: Sequence[str], wanted: int
) -> list[Any]:
    """All shards to write, `wanted` of each folder; if 0, as what parts hold asks."""
    records, sizes = collections.Counter(), collections.Counter()
    for where in places:
        facts = parts.facts(where)
        for split in facts.records:
            records[where.corpus, split] += facts.records[split]
            sizes[where.corpus, split] += facts.bytes[split]
    found = []
    for corpus in corpora:
        for split in SPLITS:
            key = corpus, split
            least = -(-records[key] // _SHARD_RECORDS), -(-sizes[key] // _SHARD_BYTES)
            count = wanted or max(1, *least)
            found += [work.beam.Shard(corpus, split, n, count) for n in range(count)]
    return found


def write_shards(
    work: Work,
    places: Sequence[Place],
    drops: str,
    heldout: float,
    wanted: Sequence[Any],
) -> None:
    """Writes the wanted shards, without the documents that `drops` lists.

    Raises ValueError where documents are lost on the way, again and again.
    """
    space, say = work.space, work.say
    ending = "array_record.json"
    homes = {space.result / one.corpus / one.split: None for one in wanted}
    todo = work.beam.unfinished(places, wanted, space)
    for _ in range(_ATTEMPTS):
        if not todo:
            break
        for one in todo:
            work.beam.info_path(space, one).unlink(missing_ok=True)
        with progress.of_files(
            space.parts, ending, len(wanted), "writing", list(homes), say
        ):
            work.beam.write_shards(
                places, drops, heldout, wanted, list(todo), space, work.engine
            )
        todo = work.beam.unfinished(places, wanted, space)
        if todo:
            named = "; ".join(f"{'/'.join(map(str, s[:3]))} {todo[s]}" for s in todo)
            say(f"the runner lost documents on their way: {named}")
    if todo:
        raise ValueError(
            f"{len(todo)} shards lack documents, which the runner lost {_ATTEMPTS} "
            "times; the same command goes on from here"
        )

"""The stages of a preparation on Apache Beam, which only this file imports.

Stages are plain functions that write files; a file that is there isn't written again.
Shards are sorted, so no byte depends on the runner, its workers or their order.
"""

import contextlib
import importlib
import io
import json
import pathlib
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam
from apache_beam.options import pipeline_options
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.transforms import environments

from data_pipelines import shards
from data_pipelines.prepare import dedupe, parts, workspace
from data_pipelines.prepare.convert import Kept
from data_pipelines.prepare.parts import Job, Place
from data_pipelines.prepare.raw import Reject
from data_pipelines.prepare.recipe import Recipe
from data_pipelines.prepare.workspace import Workspace

# What --runner may be, and how Beam calls it.
RUNNERS = {
    "DirectRunner": "",  # made here: Beam's own would first try to fetch Prism
    "DaskRunner": "apache_beam.runners.dask.dask_runner.DaskRunner",
    "DataflowRunner": "DataflowRunner",
    "FlinkRunner": "FlinkRunner",
    "SparkRunner": "SparkRunner",
    "PortableRunner": "PortableRunner",
}
# The extra of Beam that a runner needs, and modules that only it brings.
_NEEDS = {
    "DaskRunner": ("dask", ("distributed", "apache_beam.runners.dask.dask_runner")),
    "DataflowRunner": ("gcp", ("apache_beam.runners.dataflow.internal.apiclient",)),
}


class Engine(NamedTuple):
    """What runs the stages. Every worker reaches all files under the same paths."""

    runner: str = "DirectRunner"  # a key of RUNNERS
    workers: int = 1  # processes of the DirectRunner
    flags: Sequence[str] = ()  # Beam's own, for runners on clusters


class Shard(NamedTuple):
    """One shard of a folder CORPUS/SPLIT."""

    corpus: str
    split: str
    number: int
    total: int  # shards of the folder


def check(engine: Engine) -> None:
    """Raises ValueError for a runner that isn't known, or isn't installed."""
    if engine.runner not in RUNNERS:
        rule = f"must be one of {', '.join(RUNNERS)}"
        raise ValueError(f"--runner={engine.runner}: {rule}")
    _require_installed(engine.runner)
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            options = pipeline_options.PipelineOptions(list(engine.flags))
            known = options.get_all_options(drop_default=True)
    except SystemExit as error:  # argparse's way to say that a value is wrong
        reason = told.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        raise ValueError(f"--beam: {reason}") from error
    every = options.get_all_options(drop_default=True, retain_unknown_options=True)
    if every.keys() - known.keys():
        names = ", ".join(sorted(every.keys() - known.keys()))
        raise ValueError(f"--beam: Beam doesn't know {names}")


def _require_installed(name: str) -> None:
    """Imports what the runner needs, whose flags Beam knows only then."""
    for module in _NEEDS.get(name, ("", ()))[1]:
        try:
            importlib.import_module(module)
        except ImportError as error:
            package = f"apache-beam[{_NEEDS[name][0]}]"
            rule = f"needs more of Beam: pip install '{package}'"
            raise ValueError(f"--runner={name}: {rule}") from error


def make_parts(jobs: Sequence[Job], engine: Engine) -> None:
    """Reads and converts every unit (`parts.make`)."""
    with _pipeline(engine) as pipeline:
        _ = (
            pipeline
            | "units" >> apache_beam.Create(list(jobs))
            | "spread" >> apache_beam.Reshuffle()
            | "read" >> _flat_map(_make)
        )


def find_drops(
    places: Sequence[Place], recipe: Recipe, engine: Engine, path: pathlib.Path
) -> None:
    """Writes what goes because of other documents (`dedupe.save`)."""
    with _pipeline(engine) as pipeline:
        _ = (
            [
                pipeline
                | "parts" >> apache_beam.Create(list(places))
                | "spread" >> apache_beam.Reshuffle()
                | "keys" >> _flat_map(dedupe.keys, recipe)
                | "equal" >> apache_beam.GroupByKey()
                | "near" >> _flat_map(_near, recipe),
                pipeline | "nothing" >> apache_beam.Create([(0, None)]),
            ]
            | apache_beam.Flatten()
            | "all" >> apache_beam.GroupByKey()
            | "decide" >> _flat_map(_decide, str(path))
        )


def write_shards(
    places: Sequence[Place],
    drops: str,
    heldout: float,
    wanted: Sequence[Shard],
    space: Workspace,
    engine: Engine,
) -> None:
    """Writes the wanted shards that aren't there, and notes the facts of each."""
    todo = [one for one in wanted if not info_path(space, one).exists()]
    counts = {(one.corpus, one.split): one.total for one in wanted}
    with _pipeline(engine) as pipeline:
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


def info_path(space: Workspace, shard: Shard) -> pathlib.Path:
    """Where the facts of a finished shard lie."""
    name = shards.shard_name(shard.number, shard.total)
    return space.parts / f"{shard.corpus}-{shard.split}-{name}.json"


@contextlib.contextmanager
def _pipeline(engine: Engine) -> Iterator[apache_beam.Pipeline]:
    """A pipeline that runs to its end when it is left."""
    options = pipeline_options.PipelineOptions(
        list(engine.flags),
        direct_num_workers=engine.workers,
        default_sdk_harness_log_level="ERROR",
    )
    runner: Any = RUNNERS[engine.runner] or _direct(engine.workers)
    pipeline = apache_beam.Pipeline(runner=runner, options=options)
    try:
        with pipeline:
            yield pipeline
    finally:
        # Dask's, which would keep its workers for as long as this program runs.
        client = getattr(getattr(pipeline, "result", None), "client", None)
        if client is not None:
            client.close()


def _direct(workers: int) -> fn_runner.FnApiRunner:
    """The runner of one machine: in this process, or in others of its own."""
    if workers <= 1:
        return fn_runner.FnApiRunner()
    # As `multi_processing` would start them, but once started they are silent: what
    # fails in them is told by this process.
    program = (
        "import logging, os, sys; logging.disable(logging.ERROR); "
        "from apache_beam.runners.worker import sdk_worker_main; "
        "sys.stderr = open(os.devnull, 'w'); sdk_worker_main.main([])"
    )
    command = shlex.join([sys.executable, "-c", program])
    environment: Any = environments.SubprocessSDKEnvironment
    made = environment.from_command_string(command)
    return fn_runner.FnApiRunner(default_environment=made)


def _flat_map(function, *arguments):
    # Beam would derive coders from the annotations; these elements are just pickled.
    return apache_beam.FlatMap(function, *arguments).with_output_types(Any)


def _make(job: Job) -> Iterator[str]:
    yield parts.make(job).name


def _near(group: Any, recipe: Recipe) -> Iterator[tuple[int, Any]]:
    for found in dedupe.compare(group, recipe):
        yield 0, found


def _decide(group: tuple[int, Iterable[Any]], path: str) -> Iterator[str]:
    found = (one for one in group[1] if one is not None)
    dedupe.save(pathlib.Path(path), dedupe.decide(found))
    yield path


def _placed(
    where: Place,
    drops: str,
    heldout: float,
    counts: dict[tuple[str, str], int],
    todo: frozenset[Shard],
) -> Iterator[tuple[tuple, tuple[bytes, bytes]]]:
    dropped: list[Reject] = []
    for found in dedupe.survivors(where, dedupe.load(drops), heldout):
        if isinstance(found, Kept):
            count = counts[where.corpus, found.split]
            number = shards.shard_of(found.key, count)
            shard = Shard(where.corpus, found.split, number, count)
            if shard in todo:
                yield tuple(shard), (found.key, found.record)
        else:
            dropped.append(found)
    parts.write_dropped(where, dropped)


def _write_shard(element: tuple[tuple, Iterable], space: Workspace) -> Iterator[str]:
    shard = Shard(*element[0])
    given = [pair for pair in element[1] if pair is not None]
    home = space.result / shard.corpus / shard.split
    info = shards.write_shard(home, shard.number, shard.total, given)
    path = info_path(space, shard)
    workspace.write(path, json.dumps(info).encode())
    yield path.name

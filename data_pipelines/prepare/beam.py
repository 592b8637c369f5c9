"""The preparation pipeline on Apache Beam: files in, shards and rejects out.

The only file that imports Beam. Its stages are plain functions; shards are sorted, so
the bytes don't depend on the runner, its workers or the order in which they finish.
"""

import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam
from apache_beam.options import pipeline_options
from apache_beam.runners.portability.fn_api_runner import fn_runner

from data_pipelines import shards
from data_pipelines.prepare import own, readers
from data_pipelines.prepare.own import Kept, Line, Options, Reject
from data_pipelines.prepare.readers import Input

REJECTS = "rejects.jsonl"


def run(
    files: Sequence[Input],
    options: Options,
    directory: str | pathlib.Path,
    shard_counts: dict[str, int],
    runner: str = "DirectRunner",
    workers: int = 1,
    flags: Sequence[str] = (),
) -> None:
    """Writes DIRECTORY/{corpus}/{split} and DIRECTORY/rejects.jsonl.

    `shard_counts` is by corpus; `flags` are Beam's own, for runners on clusters. Every
    worker must reach the files and the folder under the same paths.
    """
    directory = str(directory)
    with _pipeline(runner, workers, flags) as pipeline:
        found = (
            pipeline
            | "files" >> apache_beam.Create(list(files))
            | "read" >> _flat_map(readers.lines, options.text_split)
            | "spread" >> apache_beam.Reshuffle()
            | "convert" >> _flat_map(_convert, options)
        )
        empty = [
            ((corpus, split, shard, count), None)
            for corpus, count in sorted(shard_counts.items())
            for split in own.SPLITS
            for shard in range(count)
        ]
        keyed = found | "place" >> _flat_map(_place, shard_counts)
        _ = (
            [keyed, pipeline | "shards" >> apache_beam.Create(empty)]
            | apache_beam.Flatten()
            | "by shard" >> apache_beam.GroupByKey()
            | "write" >> _flat_map(_write_shard, directory)
            | "by folder" >> apache_beam.GroupByKey()
            | "finish" >> _flat_map(_write_manifest, directory, options._asdict())
        )
        _ = (
            [
                found | "bad" >> _flat_map(_rejects),
                pipeline | "no" >> apache_beam.Create([("", None)]),
            ]
            | "all" >> apache_beam.Flatten()
            | "together" >> apache_beam.GroupByKey()
            | "list" >> _flat_map(_write_rejects, directory)
        )


def _pipeline(runner: str, workers: int, flags: Sequence[str]):
    modes = {} if workers <= 1 else {"direct_running_mode": "multi_processing"}
    options = pipeline_options.PipelineOptions(
        list(flags),
        direct_num_workers=workers,
        default_sdk_harness_log_level="ERROR",
        **modes,
    )
    # "DirectRunner" would first try to fetch another runner (Prism) from the network.
    engine: Any = fn_runner.FnApiRunner() if runner == "DirectRunner" else runner
    return apache_beam.Pipeline(runner=engine, options=options)


def _flat_map(function, *arguments):
    # Beam would derive coders from the annotations; these elements are just pickled.
    return apache_beam.FlatMap(function, *arguments).with_output_types(Any)


def _convert(line: Line | Reject, options: Options) -> Iterator[Kept | Reject]:
    if isinstance(line, Reject):
        yield line
    else:
        yield from own.documents(line, options)


def _place(found: Kept | Reject, shard_counts: dict[str, int]):
    if isinstance(found, Kept):
        count = shard_counts[found.corpus]
        shard = shards.shard_of(found.key, count)
        yield (found.corpus, found.split, shard, count), (found.key, found.record)


def _write_shard(element: tuple[Any, Iterable], directory: str):
    (corpus, split, shard, count), keyed = element
    given = [pair for pair in keyed if pair is not None]
    folder = pathlib.Path(directory, corpus, split)
    yield (corpus, split), shards.write_shard(folder, shard, count, given)


def _write_manifest(element: tuple[Any, Iterable[dict]], directory: str, extra: dict):
    (corpus, split), infos = element
    shards.write_manifest(pathlib.Path(directory, corpus, split), list(infos), extra)
    return []


def _rejects(found: Kept | Reject):
    if isinstance(found, Reject):
        yield "", found


def _write_rejects(element: tuple[str, Iterable[Reject | None]], directory: str):
    rejects = sorted(reject for reject in element[1] if reject is not None)
    lines = [json.dumps(reject._asdict()) + "\n" for reject in rejects]
    path = pathlib.Path(directory, REJECTS)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return []

"""Reads all of a prepared corpus again and tells what is wrong, a line a problem.

Every shard is hashed, every record and image decoded whole, and everything counted
again and compared with manifest and index.
"""

import collections
import concurrent.futures
import hashlib
import multiprocessing
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from data_pipelines import bars, shards, tokenizer
from data_pipelines.inspect import folders, lint_records
from data_pipelines.tokenizer import Tokenizer

SUMMED = ("records", "bytes", "duplicates", "images", "characters")  # over shards
COUNTED = ("kinds", "licences")  # documents of each
LINES = 100  # told of one shard; a shard that is another file has thousands


class Task(NamedTuple):
    """One shard to look through."""

    directory: str
    number: int  # of the shard
    info: dict[str, Any]  # what the manifest says of it
    shards: int
    tokenizer: str  # path
    every: int  # documents, of which one has its tokens counted again


def problems(
    root: str, tokenizer: Tokenizer, every: int, workers: int = 1
) -> Iterator[str]:
    """Yields a line for everything that is wrong in the prepared folders of a root.

    Of every `every`th document the tokens are counted again. With several workers,
    shards are shared out to as many processes; the order stays the same. Raises
    ValueError where nothing is prepared.
    """
    tasks: list[Task] = []
    for name in folders.find(root):
        directory = pathlib.Path(root) / name
        try:
            manifest = shards.read_manifest(directory)
            found = list(manifest_problems(directory, manifest))
            tasks += _tasks(directory, manifest["shards"], tokenizer, every)
        except ValueError as error:
            found = [str(error)]
        except (KeyError, TypeError, AttributeError) as error:
            found = [f"{directory / shards.MANIFEST}: not a manifest ({error!r})"]
        yield from found
    for found in _each(shard_problems, tasks, workers):
        yield from found


def _tasks(
    directory: pathlib.Path, infos: Sequence[dict], tokenizer: Tokenizer, every: int
) -> list[Task]:
    return [
        Task(str(directory), number, info, len(infos), tokenizer.path, every)
        for number, info in enumerate(infos)
    ]


def _each(
    work: Callable[[Task], list[str]], tasks: Sequence[Task], workers: int
) -> Iterator[list[str]]:
    """The results of the tasks in order, under a progress bar of bytes."""
    total = sum(task.info["bytes"] for task in tasks)
    with bars.bar(total=total, desc="lint", unit="B", unit_scale=True) as bar:
        if workers <= 1 or len(tasks) <= 1:
            for task in tasks:
                yield work(task)
                bar.update(task.info["bytes"])
            return
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
            for task, found in zip(tasks, pool.map(work, tasks)):
                yield found
                bar.update(task.info["bytes"])


def manifest_problems(directory: pathlib.Path, manifest: dict) -> Iterator[str]:
    """Yields what is wrong with a manifest itself, and files that it doesn't list."""
    path, infos = directory / shards.MANIFEST, manifest["shards"]
    for name in SUMMED:
        total = sum(info[name] for info in infos)
        if manifest[name] != total:
            yield f"{path}: {name} is {manifest[name]}, its shards have {total}"
    for name in COUNTED:
        total = collections.Counter()
        for info in infos:
            total.update(info[name])
        if manifest[name] != dict(total):
            yield f"{path}: {name} are {manifest[name]}, its shards have {dict(total)}"
    for number, info in enumerate(infos):
        if len(info["sha256"]) != 64:
            yield f"{path}: shard {number} has no sha256"
        expected = shards.shard_name(number, len(infos))
        if info["file"] != expected:
            yield f"{path}: shard {number} is {info['file']}, must be {expected}"
    listed = {info["file"] for info in infos}
    for file in sorted(directory.glob("*.array_record*")):
        if file.name not in listed:
            yield f"{file}: not in the manifest"


def shard_problems(task: Task) -> list[str]:
    """What is wrong with one shard, a line a problem."""
    path = pathlib.Path(task.directory) / task.info["file"]
    found = list(_file_problems(path, task.info))
    if path.is_file():
        words = tokenizer.open(task.tokenizer)
        found += lint_records.problems(
            path, task.number, task.shards, task.info, words, task.every
        )
    more = len(found) - LINES
    return found if more <= 0 else [*found[:LINES], f"{path}: {more:,} problems more"]


def _file_problems(path: pathlib.Path, info: dict[str, Any]) -> Iterator[str]:
    if not path.is_file():
        yield f"{path}: missing, but the manifest lists it"
        return
    size = path.stat().st_size
    if size != info["bytes"]:
        yield f"{path}: {size} bytes, the manifest says {info['bytes']}"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != info["sha256"]:
        yield f"{path}: sha256 is {digest}, the manifest says {info['sha256']}"

"""The files of shards: opened, and checked against what a manifest says of them."""

import concurrent.futures
import contextvars
import functools
import pathlib
from collections.abc import Sequence

from array_record.python import (
    array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
)

from data_pipelines import deadline, paths

_STATS = 32  # files of an object store that are asked for at a time


def open_shard(path: pathlib.Path) -> array_record_module.ArrayRecordReader:
    """A reader of one shard's file; not `ok()` where it isn't a whole one."""
    # The defaults read ahead: a waste where records are read in any order.
    options = "readahead_buffer_size:0,max_parallelism:0"
    return array_record_module.ArrayRecordReader(str(path), options)


def problems(directory: pathlib.Path, infos: Sequence[dict]) -> list[str]:
    """What is wrong with the files of a manifest's shards, a line each."""
    check = functools.partial(_problem, directory)
    if not paths.scheme(directory):
        return [problem for problem in map(check, infos) if problem]
    if infos:
        path = directory / infos[0]["file"]
        with deadline.opening(path):
            open_shard(path)  # array_record's own way to the store
    with concurrent.futures.ThreadPoolExecutor(_STATS) as pool:
        run = contextvars.copy_context().copy
        found = pool.map(lambda info: run().run(check, info), infos)
        return [problem for problem in found if problem]


def _problem(directory: pathlib.Path, info: dict) -> str:
    """What is wrong with the file of a shard; empty if nothing is."""
    path, expected = directory / info["file"], info["bytes"]
    with deadline.opening(path):
        try:
            size = paths.size(path)
        except FileNotFoundError:
            return f"{path}: missing, but the manifest lists it"
        except OSError as error:
            return f"{path}: can't be read ({error})"
    if size == expected:
        return ""
    state = "truncated" if size < expected else "another file"
    return f"{path}: {size} bytes, the manifest says {expected}: {state}"

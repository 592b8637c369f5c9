"""One measured start of one loader, in a process of its own: prints figures as JSON."""

import importlib
import json
import multiprocessing
import os
import pathlib
import pickle
import sys
import time
from typing import NamedTuple

from benchmarks.loaders.base import Loader, Setup


class Job(NamedTuple):
    """What is measured."""

    module: str
    setup: dict
    read: str  # file of a state to go on from; empty: from the beginning
    write: str  # file that gets the state at the end; empty: none
    until: int  # photos, on one core; 0: ends with the first batch, on all cores


class Figures(NamedTuple):
    """What was measured; the rates are of all but the first third."""

    first: float  # seconds until the first batch is there, imports not counted
    images: int
    tokens: int
    core_seconds: float


def measure(job: Job) -> Figures:
    """Runs a loader up to so many photos."""
    if job.until and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    loader: Loader = importlib.import_module(job.module)  # pyright: ignore[reportAssignmentType]
    for name in loader.NEEDS:
        importlib.import_module(name)
    state = pickle.loads(pathlib.Path(job.read).read_bytes()) if job.read else None
    start = time.perf_counter()
    opened = loader.open(Setup(**job.setup), state)
    batch = next(opened.batches, None)
    if batch is None:
        raise SystemExit(f"no whole batch is left of {job.setup['documents']} photos")
    first = time.perf_counter() - start
    seen = batch.images
    while seen < job.until // 3:  # memory is used for the first time
        seen += next(opened.batches).images
    images = tokens = 0
    before = core_seconds()
    while seen < job.until:
        batch = next(opened.batches)
        images, tokens = images + batch.images, tokens + batch.tokens
        seen += batch.images
    spent = core_seconds() - before
    if job.write:
        pathlib.Path(job.write).write_bytes(pickle.dumps(opened.state()))
    return Figures(first, images, tokens, spent)


def core_seconds() -> float:
    """CPU time of this process and of its children, running and ended."""
    times = os.times()
    total = time.process_time() + times.children_user + times.children_system
    tick = os.sysconf("SC_CLK_TCK")
    for child in multiprocessing.active_children():
        stat = pathlib.Path(f"/proc/{child.pid}/stat").read_text()
        total += sum(map(int, stat.rpartition(")")[2].split()[11:13])) / tick
    return total


if __name__ == "__main__":
    print(json.dumps(measure(Job(**json.loads(sys.argv[1])))._asdict()), flush=True)
    for process in multiprocessing.active_children():
        process.terminate()
    os._exit(0)  # threads that read ahead aren't waited for

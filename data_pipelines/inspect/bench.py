"""How fast this machine makes the batches of a config, and in how much memory.

Rates are of the whole path: reading, decoding, tokenizing, laying out, joining. Per
core means per second of CPU time, of worker processes as well.
"""

import contextlib
import itertools
import multiprocessing
import os
import pathlib
import resource
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from data_pipelines.batches import Pipeline
from data_pipelines.inspect import tables
from data_pipelines.records import Image
from mmjax.config import Config

_AHEAD = 64  # batches


class Clock(NamedTuple):
    """Seconds that passed, and that processors worked."""

    wall: float
    cpu: float


class Made(NamedTuple):
    """What some batches held."""

    documents: int
    images: int
    tokens: int  # positions of documents, image tokens among them
    array_bytes: int
    encoded_bytes: int  # of the images and texts that they were made of


class Measured(NamedTuple):
    """A whole measurement."""

    opening: float  # seconds: manifests, indexes, plan and capacity
    first: float  # seconds to the first batch: threads or processes start
    batches: int
    time: Clock  # of these batches, in the middle of a longer run
    made: Made
    memory: int  # bytes, the most that the process and a worker ever had


def measure(open_pipeline: Callable[[], Pipeline], batches: int) -> Measured:
    """Opens the pipeline, makes batch 0 and measures `batches` more.

    Batches beyond these are asked for as well, where the run has them, so that as much
    is being made ahead at the end of the measurement as at its beginning. Raises
    ValueError where the run has fewer batches.
    """
    began = _now()
    opened = open_pipeline()
    opening = _since(began).wall
    if opened.steps < batches + 1:
        raise ValueError(
            f"--batches={batches}: the run has {opened.steps} (config.steps), and the "
            "first is made before the clock starts"
        )
    images = tokens = array_bytes = 0
    began = _now()
    made = opened.batches(0, min(opened.steps, 2 * batches + _AHEAD))
    with contextlib.closing(made):
        next(made)
        first, began = _since(began).wall, _now()
        for batch in itertools.islice(made, batches):
            images += int(batch.real_ZC.sum())
            tokens += int((batch.segments_ZRT > 0).sum())
            array_bytes += sum(array.nbytes for array in batch)
        spent = _since(began)
    memory = _memory()
    documents, encoded = _encoded(opened, range(1, batches + 1))
    held = Made(documents, images, tokens, array_bytes, encoded)
    return Measured(opening, first, batches, spent, held, memory)


def text(config: Config, measured: Measured) -> str:
    """The measurement as a table."""
    data, time_, made = config.data, measured.time, measured.made
    rows = [
        (what, f"{amount / time_.wall:,.{d}f}", f"{amount / time_.cpu:,.{d}f}")
        for what, amount, d in (
            ("documents", made.documents, 0),
            ("images", made.images, 0),
            ("tokens", made.tokens, 0),
            ("batches", measured.batches, 2),
            ("MB of encoded images and texts", made.encoded_bytes / 1e6, 2),
            ("MB of arrays", made.array_bytes / 1e6, 2),
        )
    ]
    per = time_.wall / measured.batches
    lines = [
        f"{measured.batches} batches of {data.rows_per_batch} rows, "
        f"{data.workers or data.threads} {'workers' if data.workers else 'threads'}: "
        f"{made.documents:,} documents, {made.images:,} images, {made.tokens:,} tokens",
        "",
        tables.table(("", "a second", "a second of one core"), rows),
        "",
        f"a batch takes {1000 * per:.1f} ms: a training step that is shorter waits",
        f"cores at work: {time_.cpu / time_.wall:.2f}",
        f"opening and planning: {measured.opening:.2f} s, then "
        f"{measured.first:.2f} s to the first batch",
        f"memory: {tables.compact(measured.memory)}B at most",
    ]
    return "\n".join(lines)


def _encoded(opened: Pipeline, steps: range) -> tuple[int, int]:
    """Documents that were read for some batches, and bytes of their segments."""
    places = [
        place
        for step in steps
        for group in opened.documents_of(step)
        for row in group
        for place in row
    ]
    size = 0
    for place in places:
        for segment in opened.document(*place).segments:
            image = isinstance(segment, Image)
            size += len(segment.data if image else segment.text.encode())
    return len(places), size


def _now() -> Clock:
    return Clock(time.monotonic(), time.process_time() + _workers_cpu())


def _workers_cpu() -> float:
    """Seconds of CPU time of the worker processes that run, where /proc tells."""
    seconds = 0.0
    for worker in multiprocessing.active_children():
        path = pathlib.Path(f"/proc/{worker.pid}/stat")
        if path.exists():
            # After the name in brackets; user and system time are fields 14 and 15.
            fields = path.read_text().rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])
            seconds += ticks / os.sysconf("SC_CLK_TCK")
    return seconds


def _since(began: Clock) -> Clock:
    now = _now()
    return Clock(now.wall - began.wall, now.cpu - began.cpu)


def _memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * sum(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )

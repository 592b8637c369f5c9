"""How fast this machine makes the batches of a config, and in how much memory.

Rates are of the whole path: reading, decoding, tokenizing, laying out, joining. Per
core means per second of CPU time, of worker processes as well.
"""

import resource
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from data_pipelines.inspect import tables
from data_pipelines.pipeline import Pipeline
from data_pipelines.records import Image
from mmjax.config import Config


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

    opening: Clock  # manifests, indexes, plan and capacity
    first: Clock  # one batch, alone: threads or processes start, shards are opened
    batches: int
    time: Clock  # of all batches
    made: Made
    memory: int  # bytes, the most that the process and a worker ever had


def measure(open_pipeline: Callable[[], Pipeline], batches: int) -> Measured:
    """Opens the pipeline, makes batch 0 and then `batches` more. Nothing is cached.

    Raises ValueError where the run has fewer batches.
    """
    began = _now()
    opened = open_pipeline()
    opening = _since(began)
    if opened.steps < batches + 1:
        raise ValueError(
            f"--batches={batches}: the run has {opened.steps} (config.steps), and the "
            "first is made before the clock starts"
        )
    began = _now()
    for _ in opened.batches(0, 1):
        pass
    first = _since(began)
    images = tokens = array_bytes = 0
    began = _now()
    for batch in opened.batches(1, batches + 1):
        images += int(batch.real_ZC.sum())
        tokens += int((batch.segments_ZRT > 0).sum())
        array_bytes += sum(array.nbytes for array in batch)
    spent, memory = _since(began), _memory()
    documents, encoded = _encoded(opened, range(1, batches + 1))
    made = Made(documents, images, tokens, array_bytes, encoded)
    return Measured(opening, first, batches, spent, made, memory)


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
        f"a batch takes {1000 * per:.1f} ms; a step that takes less waits for data",
        f"cores at work: {time_.cpu / time_.wall:.2f}",
        f"opening and planning: {measured.opening.wall:.2f} s, then "
        f"{measured.first.wall:.2f} s to the first batch",
        f"memory: {tables.compact(measured.memory)}B at most",
    ]
    return "\n".join(lines)


def _encoded(opened: Pipeline, steps: range) -> tuple[int, int]:
    """Documents that were read for some batches, and their bytes of images and texts."""
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
    """Seconds of both clocks; children's count once they have ended."""
    own, others = (
        resource.getrusage(who)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    cpu = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
    return Clock(time.monotonic(), cpu)


def _since(began: Clock) -> Clock:
    now = _now()
    return Clock(now.wall - began.wall, now.cpu - began.cpu)


def _memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * sum(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )

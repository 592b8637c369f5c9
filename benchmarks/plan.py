"""Planning at scale: documents a second, memory, and what opening a row costs.

    python -m benchmarks.plan                      # 2 million documents of each kind
    python -m benchmarks.plan --documents=100 --kinds=captions --processes=2

Lengths are drawn from published statistics of web captions, interleaved documents
(MMC4, OBELICS) and text; rows have 4096 tokens, an image 144. Columns lie in files, as
those of a large prepared corpus do. Memory is what all processes hold at most, pages
that they share counted once (PSS, from Linux).
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import pathlib
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import SpawnContext
from typing import Any, NamedTuple

import numpy as np

from benchmarks import memory
from data_pipelines import columns
from data_pipelines.chunks import Layout
from data_pipelines.index_columns import POSITIONS, SLOTS, Documents
from data_pipelines.plan import SourcePlan

IMAGE_TOKENS = 144
LAYOUT = Layout(row_tokens=4096, max_images=28, window=2048, seed=0)
PART = 1_000_000  # documents that are drawn at a time


class Kind(NamedTuple):
    """Lengths of one sort of corpus."""

    text: float  # mean tokens of a document
    spread: float  # of the logarithm
    images: float  # mean; exactly one for captions


KINDS = {
    "captions": Kind(24, 0.6, 1),
    "interleaved": Kind(611, 0.9, 2.6),
    "text": Kind(846, 1.1, 0),
}


class Figures(NamedTuple):
    """What was measured of one source."""

    seconds: float  # wall, of planning an epoch
    core_seconds: float
    token_fill: float
    images_a_row: float
    open_row: float  # seconds, median, of a row whose window isn't in memory
    reopen: float  # seconds, of opening source, epoch and a row from the cache
    peak: int  # bytes, while planning


def draw(kind: Kind, count: int, seed: int) -> dict[str, np.ndarray]:
    """Columns of some documents: images and texts take turns."""
    rng = np.random.default_rng(seed)
    images = np.minimum(rng.poisson(kind.images, count), 30)
    if kind.images == 1:
        images[:] = 1
    mean = np.log(kind.text) - kind.spread**2 / 2
    words = np.maximum(1, rng.lognormal(mean, kind.spread, count)).astype(np.int64)
    segments = np.maximum(2 * images, 1)
    ends = np.cumsum(segments)
    inside = np.arange(ends[-1]) - np.repeat(ends - segments, segments)
    many = np.repeat(images, segments)
    image = (inside % 2 == 0) & (many > 0)
    share = np.repeat(np.maximum(1, words // np.maximum(images, 1)), segments)
    return {
        "segments": segments,
        "segment_tokens": np.where(image, IMAGE_TOKENS, share).astype(np.int32),
        "segment_image": image,
        "segment_slots": image.astype(np.int16),
        "segment_loss": ~image,
    }


def sample(kind: Kind, count: int) -> Documents:
    """The columns of a source."""
    parts = [
        draw(kind, min(PART, count - start), start) for start in range(0, count, PART)
    ]
    whole = {
        name: np.concatenate([p.pop(name) for p in parts]) for name in list(parts[0])
    }
    start = np.concatenate([[0], np.cumsum(whole.pop("segments"))])
    return Documents(
        segment_start=start,
        **whole,
        digest=f"benchmark {kind} {count}",
        kind=np.zeros(count, np.uint8),
        kinds=("",),
        synthetic=np.zeros(count, bool),
    )


def _write(folder: pathlib.Path, kind: Kind, count: int) -> None:
    columns.store(folder, sample(kind, count))


def measure(folder: pathlib.Path, cache: pathlib.Path, processes: int) -> Figures:
    """Plans an epoch, opens rows of it, and opens it again from the cache."""
    with _watched() as watch:
        start, cores = time.perf_counter(), _core_seconds()
        plan = SourcePlan("s", columns.load(folder), LAYOUT, cache, processes=processes)
        rows = plan.rows(0)
        seconds, cores = time.perf_counter() - start, _core_seconds() - cores
    stats = plan.sums_before(rows)
    opened = []
    for k in np.linspace(0, rows - 1, 40).astype(int).tolist():
        start = time.perf_counter()
        plan.row(k)
        opened.append(time.perf_counter() - start)
    start = time.perf_counter()
    SourcePlan("s", columns.load(folder), LAYOUT, cache).row(rows // 2)
    reopen = time.perf_counter() - start
    return Figures(
        seconds, cores, stats[POSITIONS] / rows / LAYOUT.row_tokens,
        stats[SLOTS] / rows, statistics.median(opened), reopen, watch.peak,
    )  # fmt: skip


class _Watch(threading.Thread):
    """Samples the memory of this process and of its children."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.5):
            self.peak = max(self.peak, sum(memory.pss(pid) for pid in _family()))

    def __enter__(self) -> "_Watch":
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.peak = max(self.peak, sum(memory.pss(pid) for pid in _family()))
        self.done.set()


def _watched() -> _Watch:
    return _Watch()


def _family() -> Iterator[int]:
    yield os.getpid()
    yield from (child.pid for child in multiprocessing.active_children() if child.pid)


def _core_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _alone(context: SpawnContext, function: Callable[..., Any], *arguments) -> Any:
    """What the function returns in a process of its own."""
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    """Prints a row for each kind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=float, default=2, help="millions")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    count = int(arguments.documents * 1e6)
    print(
        f"{count:,} documents, {arguments.processes} processes, {os.cpu_count()} cores"
    )
    print(
        f"{'':16} docs/s/core   wall s  token fill  images/row  row ms  again s    GB"
    )
    context = multiprocessing.get_context("spawn")
    for name in arguments.kinds:
        work = pathlib.Path(tempfile.mkdtemp())
        try:
            # Drawn and measured by a process each, whose memory goes with it.
            _alone(context, _write, work / "columns", KINDS[name], count)
            found = _alone(
                context, measure, work / "columns", work / "cache", arguments.processes
            )
        finally:
            shutil.rmtree(work, ignore_errors=True)
        print(
            f"{name:16} {count / found.core_seconds:11,.0f} {found.seconds:8.1f} "
            f"{found.token_fill:11.1%} {found.images_a_row:11.1f} "
            f"{found.open_row * 1e3:7.1f} {found.reopen:8.3f} {found.peak / 1e9:5.2f}"
        )


if __name__ == "__main__":
    main()

"""The comparison: every loader on the same photos, in turn, round by round.

Each start is a process of its own. Rates are per second of CPU time of the process and
its workers, all of them on one core, so that none gains from cores that wait, after a
third of the photos; other work on the machine disturbs them little. The two times are
wall time on all cores, without imports: to the first batch of an epoch, and ("resume")
to the first one after a run that ended at 80 % of it. Memory is what the process and
its workers hold at most, pages that they share counted once (PSS, from Linux).

The lines of Pillow are what the documentation of the others tells users to do. In all
others the others are given our decoder, simplejpeg and OpenCV, which is nine tenths of
the work: they tell what the loaders themselves cost.
"""

import importlib
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import tqdm

from benchmarks import memory
from benchmarks.loaders.base import Loader, Photo, Setup
from benchmarks.loaders.worker import Job

RESUME_AT = 0.8  # of an epoch
_STARTS = 3  # of each run: they are short, and so easily disturbed
_LOOK_EVERY = 0.2  # seconds, at the memory


class Entry(NamedTuple):
    """A line of the table."""

    module: str
    workers: int = 0  # processes; 0: none but the one that trains
    decoder: str = "fast"  # one of base.DECODERS


LOADERS = {
    "mmjax": Entry("own"),
    "webdataset": Entry("tar"),
    "webdataset, Pillow": Entry("tar", decoder="pillow"),
    "grain, its source and packer": Entry("grain_stock"),
    "datasets, streamed parquet": Entry("parquet"),
    "datasets, Pillow": Entry("parquet", decoder="pillow"),
    "torch DataLoader": Entry("files"),
    "torch DataLoader, 2 workers": Entry("files", workers=2),
    "torch DataLoader, Pillow": Entry("files", decoder="pillow"),
}


class Result(NamedTuple):
    """A loader in one round."""

    images: float  # a CPU second
    tokens: float  # positions of documents, a CPU second
    first: float  # seconds to the first batch
    resume: float  # seconds to the first batch at 80 %
    peak: int  # bytes


def table(photos: Iterable[Photo], setup: Setup, rounds: int) -> Iterator[str]:
    """The table's lines; the loaders' files are made in folders of `setup.folder`."""
    known = list(photos)
    setup = setup._replace(documents=len(known))
    missing, ready = {}, {}
    for name, entry in LOADERS.items():
        loader = _module(entry)
        absent = [n for n in loader.NEEDS if importlib.util.find_spec(n) is None]
        if absent:
            missing[name] = absent
            continue
        folder = pathlib.Path(setup.folder) / entry.module
        ready[name] = own = setup._replace(
            folder=str(folder), workers=entry.workers, decoder=entry.decoder
        )
        if not folder.exists():
            folder.mkdir(parents=True)
            loader.write(known, own)
    found: dict[str, list[Result]] = {name: [] for name in ready}
    turns = [n for k in range(rounds) for n in _turned(list(ready), k)]
    for name in tqdm.tqdm(turns, desc="loaders", delay=5, disable=None):
        found[name].append(_measure(name, ready[name], min(rounds, _STARTS)))
    yield "| loader | images/s | tokens/s | first batch, s | resume, s | MB | state |"
    yield "|---|---|---|---|---|---|---|"
    for name, entry in LOADERS.items():
        if name in missing:
            need = " ".join(missing[name])
            yield f"| {name} | not installed: pip install {need} | | | | | |"
        else:
            yield _line(name, found[name], _module(entry).NOTE)


def _module(entry: Entry) -> Loader:
    return importlib.import_module(f"benchmarks.loaders.{entry.module}")  # pyright: ignore[reportReturnType]


def _turned(names: list[str], number: int) -> list[str]:
    """The names, beginning with another one in each round."""
    first = number % len(names)
    return names[first:] + names[:first]


def _measure(name: str, setup: Setup, starts: int) -> Result:
    """One run up to 80 % of an epoch, and starts at its two ends."""
    state = str(pathlib.Path(setup.folder) / "state")
    module = f"benchmarks.loaders.{LOADERS[name].module}"
    until = int(RESUME_AT * setup.documents)
    run, peak = _process(Job(module, setup._asdict(), "", state, until))
    first, high = _start(Job(module, setup._asdict(), "", "", 0), starts)
    resume, higher = _start(Job(module, setup._asdict(), state, "", 0), starts)
    images, tokens = run["images"], run["tokens"]
    spent, memory = run["core_seconds"], max(peak, high, higher)
    return Result(images / spent, tokens / spent, first, resume, memory)


def _start(job: Job, times: int) -> tuple[float, int]:
    """Seconds to the first batch, the median of some starts, and peak memory."""
    runs = [_process(job) for _ in range(times)]
    return statistics.median(run["first"] for run, _ in runs), max(p for _, p in runs)


def _process(job: Job) -> tuple[dict[str, Any], int]:
    """What `worker` measures in a process of its own, and its peak memory."""
    work = json.dumps(job._asdict())
    command = [sys.executable, "-m", "benchmarks.loaders.worker", work]
    # Hugging Face's libraries ask a server for news of local files otherwise.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(memory.pss, _family(process.pid))))
        time.sleep(_LOOK_EVERY)
    output, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"{job.module} failed:\n{errors[-2000:]}")
    return json.loads(output.splitlines()[-1]), peak


def _family(pid: int) -> Iterator[int]:
    """A process and all that it started."""
    yield pid
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))


def _line(name: str, results: list[Result], note: str) -> str:
    images, tokens, first, resume, peak = map(statistics.median, zip(*results))
    return (
        f"| {name} | {images:,.0f} | {tokens:,.0f} | {first:.2f} | {resume:.2f} "
        f"| {peak / 1e6:,.0f} | {note} |"
    )

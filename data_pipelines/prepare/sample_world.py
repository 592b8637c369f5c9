"""The sample world: a corpus that the project makes itself, from a seed.

Coloured shapes on backgrounds, as real JPEG images with captions, interleaved
documents, texts and held-out questions. It is written with the same shards, index and
tokenizer as a real corpus:

    ROOT/{captions,interleaved,text}/{train,heldout}   ROOT/questions/heldout
    ROOT/names/{train,heldout}  ROOT/one_name/heldout  where names are asked for
    ROOT/tokenizer.model                               ROOT/sample_world.json
"""

import contextlib
import dataclasses
import fcntl
import json
import multiprocessing
import pathlib
import re
import shutil
from collections.abc import Iterator
from typing import NamedTuple

from data_pipelines import bars, index, machine, records, shards, tokenizer
from data_pipelines.prepare import documents
from data_pipelines.records import Text
from mmjax.config import SampleWorld

VERSION = 8  # of what is generated; another one is made again
STATE = "sample_world.json"
FOLDERS = (*documents.SOURCES, "questions", documents.NAMES, documents.ONE_NAME)
TOKENIZER = "tokenizer.model"
CHUNK = 200  # documents that a process makes at a time
ALONE = 1000  # so few documents aren't worth other processes
SHARD_RECORDS = 2000


class Task(NamedTuple):
    """Some documents of one kind, made by one process."""

    seed: int
    image_size: int
    source: str  # one of documents.SOURCES or documents.QUESTIONS
    split: str
    start: int
    stop: int


class Made(NamedTuple):
    """What a task gives: records under their ids, and texts for the tokenizer."""

    keyed: list[tuple[bytes, bytes]]
    texts: list[str]


def ensure(
    root: str | pathlib.Path, spec: SampleWorld, progress: bool = True
) -> pathlib.Path:
    """Makes the sample world in `root` unless it is there already; returns `root`.

    A sample world of another spec or version, or an unfinished one, is removed and made
    again. Processes that ask at the same time wait for the one that makes it. Raises
    ValueError where `root` can't be a folder or holds a corpus that isn't ours.
    """
    if not str(root):
        raise ValueError("data.root is empty: name a folder for the sample world")
    root = pathlib.Path(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root):
            _ensure(root, spec, progress)
    except OSError as error:
        raise ValueError(
            f"data.root={root}: can't hold the sample world ({error.strerror})"
        ) from error
    return root


def make(task: Task) -> Made:
    """The documents of a task; the same wherever and whenever it runs."""
    keyed, texts = [], []
    for i in range(task.start, task.stop):
        document = documents.document(
            task.seed, task.source, task.split, i, task.image_size
        )
        keyed.append((records.document_id(document), records.encode(document)))
        if task.split == "train":
            texts += [s.text for s in document.segments if isinstance(s, Text)]
    return Made(keyed, texts)


def _ensure(root: pathlib.Path, spec: SampleWorld, progress: bool) -> None:
    wanted = {
        "version": VERSION,
        "spec": {k: v for k, v in dataclasses.asdict(spec).items() if k != "enabled"},
        "complete": True,
    }
    found = _read_state(root)
    if found == wanted:
        return
    if found is None:
        taken = [name for name in (*FOLDERS, TOKENIZER) if (root / name).exists()]
        if taken:
            raise ValueError(
                f"data.root={root}: holds {taken[0]} of something else than the sample "
                "world; name another folder, or set data.sample_world.enabled=False"
            )
    for name in FOLDERS:
        shutil.rmtree(root / name, ignore_errors=True)
    (root / TOKENIZER).unlink(missing_ok=True)
    _write_state(root, wanted | {"complete": False})
    _write_corpora(root, spec, progress)
    _write_state(root, wanted)


def _read_state(root: pathlib.Path) -> dict | None:
    """What the folder says of itself; None if it says nothing."""
    path = root / STATE
    if not path.exists():
        return None
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: not written by the sample world") from error


def _write_state(root: pathlib.Path, state: dict) -> None:
    part = root / f"{STATE}.part"
    part.write_text(json.dumps(state, indent=1) + "\n")
    part.replace(root / STATE)


def _write_corpora(root: pathlib.Path, spec: SampleWorld, progress: bool) -> None:
    plan = _tasks(spec)
    total = sum(task.stop - task.start for tasks in plan.values() for task in tasks)
    texts: list[str] = []
    with (
        bars.bar(
            total=total, desc="making the sample world", unit=" documents",
            disable=None if progress else True,
        ) as bar,
        _workers(total) as run,
    ):  # fmt: skip
        for folder, tasks in plan.items():
            keyed = []
            for task, made in zip(tasks, run(tasks)):
                keyed += made.keyed
                texts += made.texts
                bar.update(task.stop - task.start)
            _write_folder(root / folder, keyed, spec)
        bar.set_description("training its tokenizer")
        path = root / TOKENIZER
        texts += _spellings(texts)
        words = tokenizer.train(texts, path, spec.vocab_size, threads=1)
        bar.set_description("counting its tokens")
        for folder in plan:
            index.build(root / folder, words)
        bar.set_description("sample world")


def _spellings(texts: list[str]) -> list[str]:
    """Each word in several surroundings.

    A unigram model considers only pieces that occur in two different words with their
    punctuation, so the "answer:" of every question would stay in four pieces.
    """
    words = sorted({word for text in set(texts) for word in re.findall(r"\w+", text)})
    return [f"{word} {word}, {word}. {word}? {word}" for word in words]


def _tasks(spec: SampleWorld) -> dict[str, list[Task]]:
    """What to make, by folder."""
    amounts = zip(documents.SOURCES, (spec.captions, spec.interleaved, spec.texts))
    plan = {}
    for source, amount in amounts:
        plan[f"{source}/train"] = _split(spec, source, "train", amount)
        plan[f"{source}/heldout"] = _split(spec, source, "heldout", spec.heldout)
    if spec.names:
        name, one = documents.NAMES, documents.ONE_NAME
        plan[f"{name}/train"] = _split(spec, name, "train", spec.names)
        plan[f"{name}/heldout"] = _split(spec, name, "heldout", spec.heldout)
        plan[f"{one}/heldout"] = _split(spec, one, "heldout", spec.questions)
    plan["questions/heldout"] = [
        task
        for kind in documents.QUESTIONS
        for task in _split(spec, kind, "heldout", spec.questions)
    ]
    return plan


def _split(spec: SampleWorld, source: str, split: str, amount: int) -> list[Task]:
    return [
        Task(
            spec.seed, spec.image_size, source, split, start, min(start + CHUNK, amount)
        )
        for start in range(0, amount, CHUNK)
    ]


def _write_folder(
    folder: pathlib.Path, keyed: list[tuple[bytes, bytes]], spec: SampleWorld
) -> None:
    count = max(1, len(keyed) // SHARD_RECORDS)
    parts = [[] for _ in range(count)]
    for key, record in keyed:
        parts[shards.shard_of(key, count)].append((key, record))
    infos = [shards.write_shard(folder, i, count, part) for i, part in enumerate(parts)]
    shards.write_manifest(folder, infos, {"sample_world": dataclasses.asdict(spec)})


@contextlib.contextmanager
def _workers(total: int) -> Iterator:
    """A function that makes tasks, in order, in as many processes as pays."""
    cpus = machine.cores()
    if total < ALONE or cpus == 1:
        yield lambda tasks: map(make, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(min(cpus, 16)) as pool:
        yield lambda tasks: pool.imap(make, tasks)


@contextlib.contextmanager
def _locked(root: pathlib.Path) -> Iterator[None]:
    """One process at a time; a lock ends with its process."""
    with (root / ".sample_world.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

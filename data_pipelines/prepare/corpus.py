"""A whole preparation: pipeline, tokenizer, index, and only then the final folder."""

import collections
import contextlib
import importlib
import json
import logging
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from data_pipelines import index, shards, tokenizer
from data_pipelines.prepare import own, readers, tokenizer_sample
from data_pipelines.prepare.own import Options
from data_pipelines.prepare.readers import Input

TOKENIZER = "tokenizer.model"  # of one that is trained
REJECTS = "rejects.jsonl"
_MARK = ".mmjax_unfinished"
_SHARD_LINES = 4000  # lines of input for one shard; one may hold five captions


class Request(NamedTuple):
    """What to prepare, and how."""

    files: Sequence[Input]
    output: str
    options: Options = Options()
    tokenizer: str = ""  # existing model; empty: train one
    vocab_size: int = 8192
    # Shares of the characters it is trained on, by corpus; empty: all there is.
    tokenizer_weights: Mapping[str, int] = {}
    shards: int = 0  # of each folder; 0: by the size of the input
    runner: str = "DirectRunner"
    workers: int = 1
    flags: Sequence[str] = ()  # of Beam


def prepare(request: Request, say: Callable[[str], None] = print) -> str:
    """Writes the corpora under `output` and returns a summary to print.

    Everything is written beside `output` first and gets its name at the end. Raises
    ValueError where the request can't be met or Beam isn't installed.
    """
    words = tokenizer.open(request.tokenizer) if request.tokenizer else None
    engine = _engine()
    counts = _shard_counts(request)
    tokenizer_sample.check(request.tokenizer_weights, counts)
    output = pathlib.Path(request.output)
    with _unfinished(output) as folder:
        say(f"preparing {len(request.files)} files")
        engine.run(
            request.files, request.options, folder, counts,
            request.runner, request.workers, request.flags,
        )  # fmt: skip
        _check_texts(folder, counts)
        if words is None:
            say("training the tokenizer")
            folders = {name: folder / name / own.SPLITS[0] for name in counts}
            texts = tokenizer_sample.texts(folders, request.tokenizer_weights)
            words = tokenizer.train(texts, folder / TOKENIZER, request.vocab_size)
        else:
            shutil.copyfile(request.tokenizer, folder / words.FILE_NAME)
        say("counting tokens")
        for path in _folders(folder, counts):
            index.build(path, words, workers=request.workers)
        return summary(folder, output)


def reindex(output: str, model: str, workers: int = 1) -> str:
    """Counts prepared corpora again for another tokenizer; shards stay as they are.

    Returns a line to print. Raises ValueError where there is nothing prepared.
    """
    words = tokenizer.open(model)
    found = sorted(pathlib.Path(output).glob(f"*/*/{shards.MANIFEST}"))
    if not found:
        raise ValueError(f"--output={output}: no prepared corpora in it")
    for path in found:
        index.build(path.parent, words, workers=workers)
    return f"indexed {len(found)} folders; train with --config.data.tokenizer={model}"


def summary(folder: pathlib.Path, name: pathlib.Path) -> str:
    """What a finished folder holds, as a table, and its rejects by reason."""
    rows: list[tuple[str, ...]] = [
        ("", "documents", "images", "characters", "duplicates", "shards")
    ]
    for path in sorted(folder.glob(f"*/*/{shards.MANIFEST}")):
        manifest = shards.read_manifest(path.parent)
        totals = ("records", "images", "characters", "duplicates")
        row = [str(path.parent.relative_to(folder)), *(manifest[t] for t in totals)]
        rows.append((*map(str, row), str(len(manifest["shards"]))))
    widths = [max(map(len, column)) for column in zip(*rows)]
    table = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
        for row in rows
    ]
    words = tokenizer.open(tokenizer.in_folder(folder))
    ids = f"tokenizer: {name / words.FILE_NAME}, {words.vocab_size} ids"
    return "\n".join([*table, ids, _reasons(folder, name)])


def _reasons(folder: pathlib.Path, name: pathlib.Path) -> str:
    """How many were rejected, and why."""
    counts = collections.Counter()
    with (folder / REJECTS).open(encoding="utf-8") as lines:
        for line in lines:
            reject = json.loads(line)
            counts[reject["reason"], reject["lost"]] += 1
    reasons = [
        f"{count} x {reason} (the {lost} is left out)"
        for (reason, lost), count in sorted(counts.items())
    ]
    where = f", listed in {name / REJECTS}:" if reasons else ""
    return "\n  ".join([f"rejected: {counts.total()}{where}", *reasons])


def _engine() -> Any:
    """The Beam pipeline; the library is optional."""
    level = logging.root.manager.disable
    try:
        logging.disable(logging.WARNING)  # about parts of Beam that aren't used here
        return importlib.import_module("data_pipelines.prepare.beam")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "apache_beam":
            raise
        raise ValueError(
            "Apache Beam is not installed: run  pip install 'mmjax[prepare]'"
        ) from error
    finally:
        logging.disable(level)


def _shard_counts(request: Request) -> dict[str, int]:
    """Shards of each corpus that has input."""
    lines = collections.Counter()
    for file in request.files:
        lines[file.corpus] += readers.documents_at_most(file)
    return {
        corpus: request.shards or -(-amount // _SHARD_LINES) or 1
        for corpus, amount in lines.items()
    }


@contextlib.contextmanager
def _unfinished(output: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder beside `output` that takes its name if nothing goes wrong."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"--output={output}: exists already; name a new folder")
    folder = output.with_name(f"{output.name}.unfinished")
    if folder.exists() and not (folder / _MARK).exists():
        raise ValueError(f"{folder}: in the way, and not ours; move it")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        (folder / _MARK).touch()
    except OSError as error:
        raise ValueError(
            f"--output={output}: can't be written ({error.strerror})"
        ) from error
    try:
        yield folder
        (folder / _MARK).unlink()
        folder.replace(output)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _folders(folder: pathlib.Path, counts: dict[str, int]) -> list[pathlib.Path]:
    return [folder / corpus / split for corpus in counts for split in own.SPLITS]


def _check_texts(folder: pathlib.Path, counts: dict[str, int]) -> None:
    train = [shards.read_manifest(folder / c / own.SPLITS[0]) for c in counts]
    if not any(manifest["characters"] for manifest in train):
        reasons = _reasons(folder, pathlib.Path()).splitlines()[1:]
        raise ValueError(f"not one document to train on ({'; '.join(reasons)})")

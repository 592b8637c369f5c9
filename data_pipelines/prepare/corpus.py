"""A whole preparation: stages, tokenizer, index, and only then the final folder."""

import contextlib
import hashlib
import os
import pathlib
import pickle
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from data_pipelines import index, shards, tokenizer
from data_pipelines.prepare import (
    decontaminate,
    evaluation_files,
    parts,
    stages,
    telling,
    tokenizer_sample,
    workspace,
)
from data_pipelines.prepare import recipe as recipes
from data_pipelines.prepare.formats import inputs
from data_pipelines.prepare.formats.base import Input
from data_pipelines.prepare.parts import Job
from data_pipelines.prepare.recipe import SPLITS, Recipe
from data_pipelines.prepare.workspace import Workspace

TOKENIZER = "tokenizer.model"  # of one that is trained
_WHILE = re.compile(r" \[while running '[^']*'\]")  # what Beam adds to a message


class Request(NamedTuple):
    """What to prepare, and how."""

    files: Mapping[str, Sequence[Input]]  # by corpus
    output: str
    recipe: Recipe = Recipe()
    evaluations: Mapping[str, Sequence[str]] = {}  # files of sets to keep out, by name
    tokenizer: str = ""  # existing model; empty: train one
    vocab_size: int = 8192
    # Shares of the characters it is trained on, by corpus; empty: all there is.
    tokenizer_weights: Mapping[str, int] = {}
    shards: int = 0  # of each folder; 0: by the size of what it holds
    runner: str = "DirectRunner"
    workers: int = 1
    flags: Sequence[str] = ()  # of Beam


def prepare(request: Request, say: Callable[[str], None] = print) -> str:
    """Writes the corpora under `output` and returns a summary to print.

    Everything is written beside `output` first and gets its name at the end; the same
    request goes on from where an earlier one was killed. Raises ValueError where the
    request can't be met or Beam isn't installed.
    """
    tokenizer_sample.check(request.tokenizer_weights, request.files)
    words = tokenizer.open(request.tokenizer) if request.tokenizer else None
    runners, beam = stages.on_beam()
    engine = runners.Engine(request.runner, request.workers, request.flags)
    runners.check(engine)
    output = pathlib.Path(request.output)
    with _told(), workspace.unfinished(output, _facts(request)) as space:
        recipe = _with_evaluations(request, space, say)
        say(f"preparing {sum(map(len, request.files.values()))} files")
        jobs = list(_jobs(request, recipe, space))
        units = space.parts.parent / "units.json"
        workspace.require_same(units, {"input": [job.name for job in jobs]})
        places = [parts.place(job) for job in jobs]
        work = stages.Work(beam, engine, space, say)
        stages.make_parts(work, jobs)
        drops = stages.find_drops(work, places, recipe)
        wanted = stages.shards(work, places, list(request.files), request.shards)
        stages.write_shards(work, places, drops, recipe.heldout, wanted)
        telling.write_rejects(places, space.result)
        extra = telling.extra(request.files, recipe, places)
        telling.write_manifests(beam, wanted, space, extra)
        corpora = list(request.files)
        _check_texts(space.result, corpora)
        words = words or _train(request, space.result, corpora, say)
        path = space.result / words.FILE_NAME
        if request.tokenizer:
            shutil.copyfile(request.tokenizer, path)
        extra = {
            name: {**e, "tokenizer": telling.of_tokenizer(path)}
            for name, e in extra.items()
        }
        telling.write_manifests(beam, wanted, space, extra)
        say("counting tokens")
        for folder in _folders(space.result, corpora):
            index.build(folder, words, workers=request.workers)
        return telling.summary(space.result, output)


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


def _facts(request: Request) -> dict[str, Any]:
    """What must be the same for a preparation to go on, by a name for each."""
    given = [
        [corpus, *file, *_state(file.file)]
        for corpus, files in sorted(request.files.items())
        for file in files
    ]
    sets = {
        name: [[path, *_state(path)] for path in paths]
        for name, paths in sorted(request.evaluations.items())
    }
    words = (request.tokenizer, request.vocab_size, dict(request.tokenizer_weights))
    return {
        "input": given,
        "filters or sizes": recipes.described(request.recipe),
        "evaluation sets": sets,
        "tokenizer": words,
        "number of shards": request.shards,
    }


def _state(path: str) -> list[int]:
    """What changes when a file does."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    return [found.st_size, found.st_mtime_ns]


def _with_evaluations(
    request: Request, space: Workspace, say: Callable[[str], None]
) -> Recipe:
    """The recipe with the index of the evaluation sets, written for all workers."""
    if not request.evaluations:
        return request.recipe
    sets = {
        name: evaluation_files.read(paths)
        for name, paths in request.evaluations.items()
    }
    made = decontaminate.build(sets)
    for name, (runs, images) in sorted(decontaminate.counts(made).items()):
        say(f"evaluation set {name}: {runs} runs of words, {images} images")
    path, data = space.parts / "evaluations.pickle", pickle.dumps(made)
    workspace.write(path, data)
    digest = hashlib.sha256(data).hexdigest()
    return request.recipe._replace(evaluations=str(path), evaluations_digest=digest)


def _jobs(request: Request, recipe: Recipe, space: Workspace) -> Iterator[Job]:
    for corpus, files in sorted(request.files.items()):
        for file in files:
            for unit in inputs.units(file):
                yield parts.job(corpus, unit, recipe, space.parts)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the system refuses (a full disk), here or in a worker, is told in a line."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        told = [line.strip() for line in str(error).splitlines() if "[Errno" in line]
        if isinstance(error, OSError) or told:
            reason = _WHILE.sub("", told[-1] if told else str(error))
            reason = reason[max(0, reason.find("[Errno")) :]
            rule = "nothing is lost: the same command goes on from here"
            raise ValueError(f"preparation stopped: {reason}; {rule}") from error
        raise


def _train(
    request: Request,
    folder: pathlib.Path,
    corpora: Sequence[str],
    say: Callable[[str], None],
) -> tokenizer.Tokenizer:
    path = folder / TOKENIZER
    if path.exists():
        return tokenizer.open(path)
    say("training the tokenizer")
    folders = {name: folder / name / SPLITS[0] for name in corpora}
    texts = tokenizer_sample.texts(folders, request.tokenizer_weights)
    return tokenizer.train(texts, path, request.vocab_size)


def _folders(folder: pathlib.Path, corpora: Sequence[str]) -> list[pathlib.Path]:
    return [folder / corpus / split for corpus in corpora for split in SPLITS]


def _check_texts(folder: pathlib.Path, corpora: Sequence[str]) -> None:
    train = [shards.read_manifest(folder / corpus / SPLITS[0]) for corpus in corpora]
    if not any(manifest["characters"] for manifest in train):
        reasons = telling.reasons(folder, pathlib.Path()).splitlines()[1:]
        raise ValueError(f"not one document to train on ({'; '.join(reasons)})")

"""A checkpoint driven by lm-evaluation-harness or lmms-eval, on any of their tasks.

    pip install 'mmjax[harness]'
    python -m mmjax.harness --workdir=runs/a --tasks=arc_easy,lambada_openai --shots=4
    python -m mmjax.harness --workdir=runs/a --tasks=mine --include=DIR --out=found.json

    pip install 'mmjax[lmms]'
    python -m mmjax.harness --library=lmms_eval --workdir=runs/a --tasks=textvqa_val

prints the library's own table. DIR holds tasks of your own as its YAML files. From
Python, `lm_eval.simple_evaluate(model=texts.model(answerer), tasks=[...])`, and for
lmms-eval `images.model(answerer)`.
"""

import importlib
import json
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl import flags
from absl.flags import FlagValues

from data_pipelines.inspect import command_line
from mmjax import cli, loading
from mmjax.answering import Answerer
from mmjax.harness import images, texts


class Library(NamedTuple):
    """How a library is had and called."""

    name: str
    extra: str  # of mmjax
    modules: tuple[str, str, str]  # of its evaluation, its tasks, its tables
    model: Callable[[Answerer, int], Any]


LIBRARIES = {
    "lm_eval": Library(
        "lm-evaluation-harness",
        "harness",
        ("lm_eval.evaluator", "lm_eval.tasks", "lm_eval.utils"),
        texts.model,
    ),
    "lmms_eval": Library(
        "lmms-eval",
        "lmms",
        ("lmms_eval.evaluator", "lmms_eval.tasks", "lmms_eval.utils"),
        images.model,
    ),
}


def main(argv: Sequence[str]) -> None:
    """Runs the command line; ValueError for a mistake in it."""
    values = loading.asked(_define, __doc__, argv)
    if values is None:
        return
    place = loading.place(values)
    library = LIBRARIES[values.library]
    if not values.tasks:
        raise ValueError(f"--tasks is missing: names of {library.name}")
    if values.batch < 1:
        raise ValueError(f"--batch={values.batch}: must be at least 1")
    evaluator, tasks, utils = _opened(library)
    known = tasks.TaskManager(include_path=values.include or None)
    for name in values.tasks:
        if name not in known.all_tasks:
            raise ValueError(f"--tasks={name}: {library.name} has no such task")
    config = command_line.config(values) if values.config else None
    opened = loading.open(place, config, "")
    found = evaluator.simple_evaluate(
        model=library.model(opened, values.batch),
        tasks=values.tasks,
        num_fewshot=values.shots,
        limit=values.limit,
        task_manager=known,
        log_samples=bool(values.out),
    )
    print(utils.make_table(found))
    if values.out:
        text = json.dumps(found, indent=2, default=str, ensure_ascii=False)
        pathlib.Path(values.out).write_text(text + "\n", encoding="utf-8")


def _define(values: FlagValues) -> None:
    loading.define(values)
    flags.DEFINE_enum(
        "library", "lm_eval", list(LIBRARIES), "Whose tasks.", flag_values=values
    )
    for name, default, help_string in (
        ("include", "", "Folder of more tasks, as YAML files."),
        ("out", "", "JSON of results and of each example."),
    ):
        flags.DEFINE_string(name, default, help_string, flag_values=values)
    flags.DEFINE_list("tasks", [], "The library's names of tasks.", flag_values=values)
    for name, default, help_string in (
        ("shots", None, "Solved examples; default: the task's own number."),
        ("limit", None, "Examples of a task; default: all."),
        ("batch", 16, "Requests that are answered together."),
    ):
        flags.DEFINE_integer(name, default, help_string, flag_values=values)


def _opened(library: Library) -> tuple[Any, ...]:
    try:
        return tuple(importlib.import_module(name) for name in library.modules)
    except (ImportError, RuntimeError) as error:  # torchvision's is the latter
        install = f"pip install 'mmjax[{library.extra}]'"
        raise ValueError(
            f"{library.name} can't be imported ({error}): run  {install}"
        ) from error


if __name__ == "__main__":
    cli.explained(main, sys.argv)

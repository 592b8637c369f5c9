"""A checkpoint driven by lm-evaluation-harness, on any of its text tasks.

    pip install 'mmjax[harness]'
    python -m mmjax.harness --workdir=runs/a --tasks=arc_easy,lambada_openai --shots=4
    python -m mmjax.harness --workdir=runs/a --tasks=mine --include=DIR --out=found.json

prints the harness's own table. DIR holds tasks of your own as its YAML files. From
Python, `lm_eval.simple_evaluate(model=harness.model(answerer), tasks=[...])`.
"""

import itertools
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import absl.logging
from absl import flags
from absl.flags import FlagValues

from data_pipelines.inspect import command_line
from data_pipelines.records import Text
from mmjax import answering, cli, loading
from mmjax.answering import Answerer, Request

_NEW_TOKENS = 256  # where a task doesn't say how many


def main(argv: Sequence[str]) -> None:
    """Runs the command line; ValueError for a mistake in it."""
    values = command_line.parse(_define, True, argv[1:])
    if values.help:
        print(f"{__doc__}\n{command_line.listed(values)}")
        return
    absl.logging.set_verbosity(absl.logging.WARNING)
    place = loading.place(values)
    if not values.tasks:
        raise ValueError("--tasks is missing: names of lm-evaluation-harness")
    if values.batch < 1:
        raise ValueError(f"--batch={values.batch}: must be at least 1")
    lm_eval = _library()
    from lm_eval import tasks, utils

    known = tasks.TaskManager(include_path=values.include or None)
    for name in values.tasks:
        if name not in known.all_tasks:
            raise ValueError(f"--tasks={name}: lm-evaluation-harness has no such task")
    config = command_line.config(values) if values.config else None
    opened = loading.open(place, config, "")
    found = lm_eval.simple_evaluate(
        model=model(opened, values.batch),
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


def model(answerer: Answerer, batch: int = 16) -> Any:
    """The answerer as an `lm_eval.api.model.LM`; ValueError without the library.

    A prompt and what is to follow it are tokenized each on its own, as mmjax's tasks
    do; what doesn't fit a row is a ValueError.
    """
    _library()
    from lm_eval.api.model import LM

    class Model(LM):
        """Answers the three kinds of requests in batches."""

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return scored(answerer, [_pair(*r.args) for r in requests], batch)

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            pairs = [("", request.args[0]) for request in requests]
            return [total for total, _ in scored(answerer, pairs, batch)]

        def generate_until(self, requests: list[Any]) -> list[str]:
            return said(answerer, [_request(*r.args) for r in requests], batch)

    return Model()


def scored(
    answerer: Answerer, pairs: Sequence[tuple[str, str]], batch: int
) -> list[tuple[float, bool]]:
    """(log-likelihood in nats, is it said greedily) of each (prompt, continuation).

    A prompt is read once for all of its continuations that follow each other.
    """
    asked = [
        Request(_parts(prompt), continuations=tuple(text for _, text in group))
        for prompt, group in itertools.groupby(pairs, lambda pair: pair[0])
    ]
    return [
        (score.total, score.greedy)
        for answer in _answered(answerer, asked, batch)
        for score in answer.scores
    ]


def said(answerer: Answerer, requests: Sequence[Request], batch: int) -> list[str]:
    """The texts that follow prompts."""
    return [answer.text for answer in _answered(answerer, requests, batch)]


def _answered(
    answerer: Answerer, requests: Sequence[Request], batch: int
) -> list[answering.Answer]:
    return [
        answer
        for start in range(0, len(requests), batch)
        for answer in answering.answer(answerer, requests[start : start + batch])
    ]


def _pair(prompt: str, text: str) -> tuple[str, str]:
    """Blanks at the end of a prompt belong to what follows it."""
    bare = prompt.rstrip()
    return bare, prompt[len(bare) :] + text


def _request(prompt: str, how: dict[str, Any]) -> Request:
    """What the harness asks for in its own words."""
    until = how.get("until") or []
    until = [until] if isinstance(until, str) else until
    drawn = how.get("do_sample", how.get("temperature", 0.0) > 0)
    return Request(
        _parts(prompt),
        int(how.get("max_gen_toks", _NEW_TOKENS)),
        float(how.get("temperature", 1.0)) if drawn else 0.0,
        top_p=float(how.get("top_p", 1.0)),
        stop=tuple(text for text in until if text),
    )


def _parts(prompt: str) -> tuple[Text, ...]:
    return (Text(prompt),) if prompt else ()


def _define(values: FlagValues) -> None:
    loading.define(values)
    for name, default, help_string in (
        ("include", "", "Folder of more tasks, as YAML files."),
        ("out", "", "JSON of results and of each example."),
    ):
        flags.DEFINE_string(name, default, help_string, flag_values=values)
    flags.DEFINE_list(
        "tasks", [], "Names of lm-evaluation-harness.", flag_values=values
    )
    for name, default, help_string in (
        ("shots", None, "Solved examples; default: the task's own number."),
        ("limit", None, "Examples of a task; default: all."),
        ("batch", 16, "Requests that are answered together."),
    ):
        flags.DEFINE_integer(name, default, help_string, flag_values=values)


def _library() -> Any:
    try:
        import lm_eval
    except ImportError as error:
        raise ValueError(f"{error}: run  pip install 'mmjax[harness]'") from error
    return lm_eval


if __name__ == "__main__":
    cli.explained(main, sys.argv)

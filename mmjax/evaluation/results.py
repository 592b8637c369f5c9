"""What became of the tasks: figures with intervals, each example's score, a table."""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax import files, json_lines
from mmjax.evals import bootstrap, postprocess, scoring, tasks
from mmjax.evals.example import Example
from mmjax.evals.metric import Metric
from mmjax.evals.tasks import Task
from mmjax.evaluation.running import Said

FOLDER = "evaluation"  # of a run's workdir, unless another is named
FILE = "results.json"
JUDGED = "judged"  # the figure of a judge: the share of answers it calls right
HEAD = ("task", "shots", "figure", "value", "95 %", "examples", "")  # of the table


class Figure(NamedTuple):
    """One figure and its 95 % bootstrap interval, in the units of its scorer."""

    value: float
    low: float
    high: float


class Judging(NamedTuple):
    """What became of the answers that a judge was asked about."""

    examples: int  # with a verdict: those of the figure JUDGED
    failed: Mapping[str, int]  # those without one, by reason


class Result(NamedTuple):
    """One task with one number of solved examples."""

    name: str
    shots: int
    main: str  # the figure that is quoted
    figures: Mapping[str, Figure]
    examples: int  # that were scored
    secret: int  # whose answer isn't known
    left_out: int  # that didn't fit a row
    dropped: int  # solved examples without room, of all queries
    settings: Mapping[str, Any]
    judging: Judging | None = None  # None: no judge was asked


def folder_of(base: pathlib.Path, checkpoint: str) -> pathlib.Path:
    """Where the results of a checkpoint lie: in a folder named by its step."""
    return base / f"step_{pathlib.Path(checkpoint).name}"


def score(
    task: Task,
    examples: Sequence[Example],
    said: Mapping[str, Said],
    name: str,
    settings: Mapping[str, Any],
    seed: int,
) -> tuple[Result, list[dict[str, Any]]]:
    """The figures of a run, and each example's record with what was made of it.

    A record gets `parsed` (what was scored of a text), `references` or `answer`, and
    `score`, its own share of the main figure where that has one.
    """
    asked = [example for example in examples if example.id in said]
    known = [example for example in asked if scoring.known(example)]
    outputs = [said[example.id].output for example in known]
    found = tasks.figures(task, known, outputs) if known else {}
    figures = {
        key: Figure(each.value, *bootstrap.interval(each, seed))
        for key, each in found.items()
    }
    shares = _shares(found.get(task.main), known)
    records = [
        _record(task, example, said[example.id], shares.get(example.id))
        for example in asked
    ]
    result = Result(
        name,
        int(settings["shots"]),
        task.main,
        figures,
        len(known),
        len(asked) - len(known),
        len(examples) - len(asked),
        sum(said[example.id].record["dropped"] for example in asked),
        settings,
    )
    return result, records


def _shares(main: Metric | None, known: Sequence[Example]) -> dict[str, float]:
    """Each example's own value of the main figure, where its units are examples."""
    if main is None or len(main.sums) != len(known):
        return {}
    return {e.id: float(x) for e, x in zip(known, main.each) if not math.isnan(x)}


def _record(
    task: Task, example: Example, said: Said, share: float | None
) -> dict[str, Any]:
    record = {**said.record, "question": example.question}
    if task.mode == "generate":
        text = said.output.text
        record["parsed"] = postprocess.apply(text, task.stops, task.steps)
    else:
        record["choices"] = list(example.choices)
        record["parsed"] = example.choices[int(np.argmax(said.output.logprobs))]
        if task.mode == "greedy" and not any(said.output.greedy):
            record["parsed"] = ""  # none of them is what it would say
    if example.answer is not None:
        record["answer"] = example.answer
    if example.references:
        record["references"] = list(example.references)
    if "kind" in example.facts:
        record["kind"] = example.facts["kind"]
    return record if share is None else record | {"score": share}


def write(
    home: pathlib.Path, about: Mapping[str, Any], results: Sequence[Result]
) -> None:
    """Writes `results.json`: what was evaluated, and `runs`, one for each result.

    Those of other tasks or shots that it holds already stay.
    """
    listed = [_listed(result) for result in results]
    fresh = {(one["name"], one["shots"]) for one in listed}
    if (home / FILE).exists():
        held = json.loads((home / FILE).read_text(encoding="utf-8"))["runs"]
        listed = [r for r in held if (r["name"], r["shots"]) not in fresh] + listed
    text = json.dumps({**about, "runs": listed}, indent=2) + "\n"
    files.replace(home / FILE, text)


def _listed(result: Result) -> dict[str, Any]:
    figures = {
        name: {k: _finite(v) for k, v in figure._asdict().items()}
        for name, figure in result.figures.items()
    }
    fields = {**result._asdict(), "settings": dict(result.settings), "figures": figures}
    judging = fields.pop("judging")
    if judging is not None:
        fields |= {"judged": judging.examples, "judge_failed": dict(judging.failed)}
    return fields


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def write_examples(path: pathlib.Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes the records of a finished run in the place of what it was told by."""
    files.replace(path, json_lines.text(records))


def table(results: Sequence[Result]) -> list[str]:
    """The results as lines for a terminal."""
    lines = [HEAD, *rows(results)]
    sizes = [max(len(r[i]) for r in lines) for i in range(len(HEAD))]
    return ["  ".join(c.ljust(n) for c, n in zip(r, sizes)).rstrip() for r in lines]


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """The lines of the table: of each result the main figure, and a judge's."""
    found = []
    for result in results:
        found.append(_row(result, result.main, result.examples, _notes(result)))
        if result.judging is not None:
            count, failed = result.judging
            notes = [f"{n} not judged: {reason}" for reason, n in failed.items()]
            found.append(_row(result, JUDGED, count, notes))
    return found


def _notes(result: Result) -> list[str]:
    """What isn't in the figures."""
    return [
        f"{count} {what}"
        for count, what in (
            (result.secret, "without a known answer"),
            (result.left_out, "too long for a row"),
            (result.dropped, "shots without room"),
        )
        if count
    ]


def _row(
    result: Result, figure: str, examples: int, notes: Sequence[str]
) -> tuple[str, ...]:
    found = result.figures.get(figure)
    value = ("-", "-")
    if found is not None:
        value = f"{found.value:.4g}", f"{found.low:.4g} to {found.high:.4g}"
    head = (result.name, str(result.shots), figure)
    return *head, *value, str(examples), ", ".join(notes)

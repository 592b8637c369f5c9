"""Checkpoints of a run, evaluated on tasks: figures, each example, a page, exports.

    python -m mmjax.evaluate --workdir=runs/a --tasks=textvqa --data=evals --shots=0,4,8
    python -m mmjax.evaluate --workdir=runs/a --tasks=questions
    python -m mmjax.evaluate --workdir=runs/a --tasks=arc_easy --data=evals --follow
    python -m mmjax.evaluate ... --judge=http://HOST:8000/v1 --judge_model=NAME

Files of a task TASK lie in DATA/TASK as their authors distribute them; what is missing
is said. `questions` are the run's own question documents (evaluation.questions). What
was answered before is not asked again: the same command goes on. --judge names another
model, which says of open answers whether they mean the references. --config is needed
only to change what the checkpoint says, as in --config.mesh.fsdp=8.
"""

import pathlib
import sys
from collections.abc import Iterator, Sequence

from absl import flags
from absl.flags import FlagValues

from data_pipelines import paths
from data_pipelines.inspect import command_line
from mmjax import cli, loading
from mmjax.config import Config
from mmjax.evals import tasks
from mmjax.evals.scorers import meteor
from mmjax.evaluate import exporting, following, judge_flags, judging, page
from mmjax.evaluate.judging import Done, Judge
from mmjax.evaluate.page import Section
from mmjax.evaluation import jobs, results
from mmjax.evaluation.jobs import Choice, Job


def main(argv: Sequence[str]) -> None:
    """Runs the command line; ValueError for a mistake in it."""
    values = loading.asked(_define, __doc__, argv)
    if values is None:
        return
    choice, judge = _check(values), judge_flags.judge(values)
    config = command_line.config(values) if values.config else None
    wanted: list[Job] = []  # what is wrong with the data is told before a model loads
    if jobs.QUESTIONS not in values.tasks:
        wanted = list(_jobs(values, choice, None))
    place = loading.place(values)
    found = following.checkpoints(place, bool(values.follow), float(values.poll))
    for checkpoint in found:
        _evaluate(values, choice, judge, config, wanted, str(checkpoint))


def _define(values: FlagValues) -> None:
    loading.define(values)
    loading.define_cache(values)
    judge_flags.define(values)
    for name, default, help_string in (
        ("data", "", "Folder that holds a folder of files for each task."),
        ("out", "", "Folder of the results; default: WORKDIR/evaluation."),
        ("split", "", "Split of the tasks; default: the first of each."),
    ):
        flags.DEFINE_string(name, default, help_string, flag_values=values)
    flags.DEFINE_list(
        "tasks", [], f"Some of {jobs.QUESTIONS}, {', '.join(sorted(tasks.TASKS))}.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_list(
        "shots", ["0"], "Solved examples before each query: 0,4,8 asks three times.",
        flag_values=values,
    )  # fmt: skip
    for name, default, help_string in (
        ("limit", 0, "Examples of a task, drawn by --seed; 0: all."),
        ("seed", 0, "Of what is drawn."),
        ("batch", 16, "Requests that are answered together."),
        ("pictured", 48, "Examples of each result that the page shows."),
    ):
        flags.DEFINE_integer(name, default, help_string, flag_values=values)
    flags.DEFINE_float("poll", 30.0, "Seconds between looks of --follow.",
                       flag_values=values)  # fmt: skip
    flags.DEFINE_bool(
        "instruct", False, "Prompts for a model that is tuned on instructions.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_bool(
        "similar", False,
        "Solved examples are those whose images are most like the query's (RICES), by "
        "the model's own encoder.", flag_values=values,
    )  # fmt: skip
    flags.DEFINE_bool(
        "exchanged", False,
        "Solved examples show each other's answers: what is then still right wasn't "
        "learned from them.", flag_values=values,
    )  # fmt: skip
    flags.DEFINE_bool(
        "meteor", False, "Captions are scored by METEOR, too, which needs Java.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_bool(
        "follow", False, "Evaluate each new checkpoint until the run's last step.",
        flag_values=values,
    )  # fmt: skip


def _check(values: FlagValues) -> Choice:
    """What all tasks share; ValueError for flags that can't be."""
    loading.place(values)
    if values.follow and values.checkpoint:
        raise ValueError("--follow: goes with --workdir, not with --checkpoint")
    if not (values.workdir or values.out):
        raise ValueError("--out is missing: where the results go (or give --workdir)")
    names = ", ".join((jobs.QUESTIONS, *sorted(tasks.TASKS)))
    if not values.tasks:
        raise ValueError(f"--tasks is missing: some of {names}")
    for name in values.tasks:
        if name != jobs.QUESTIONS and name not in tasks.TASKS:
            raise ValueError(f"--tasks={name}: must be one of {names}")
        if name != jobs.QUESTIONS and not values.data:
            raise ValueError(
                f"--data is missing: DATA/{name} holds the files of {name}"
            )
    if values.meteor and (lacking := meteor.missing()):
        raise ValueError(f"--meteor: {lacking}")
    if not all(text.strip().isdecimal() for text in values.shots):
        raise ValueError(f"--shots={','.join(values.shots)}: must be whole numbers")
    if values.limit < 0 or values.batch < 1:
        raise ValueError(
            f"--limit={values.limit} --batch={values.batch}: must be at least 0 and 1"
        )
    shots = tuple(dict.fromkeys(int(text) for text in values.shots))
    return Choice(
        shots,
        values.limit,
        values.seed,
        bool(values.instruct),
        bool(values.similar),
        bool(values.exchanged),
        bool(values.meteor),
    )


def _jobs(values: FlagValues, choice: Choice, config: Config | None) -> Iterator[Job]:
    for name in values.tasks:
        if name != jobs.QUESTIONS:
            root = pathlib.Path(values.data) / name
            yield from jobs.of_task(name, values.split, root, choice)
        elif config is not None:
            asked = config.evaluation.questions
            if not asked:
                raise ValueError("evaluation.questions is empty: there are none")
            folder = paths.of(config.data.root) / asked
            yield from jobs.of_questions(str(folder), choice)


def _evaluate(
    values: FlagValues,
    choice: Choice,
    judge: Judge | None,
    config: Config | None,
    wanted: Sequence[Job],
    checkpoint: str,
) -> None:
    """Evaluates one checkpoint."""
    answerer = loading.open(checkpoint, config, values.cache)
    wanted = wanted or list(_jobs(values, choice, answerer.config))
    base = values.out or pathlib.Path(values.workdir) / results.FOLDER
    home = results.folder_of(pathlib.Path(base), checkpoint)
    done: list[Done] = []
    for job, result, records in jobs.run(
        answerer, wanted, home, checkpoint, values.batch, print
    ):
        exporting.write(home, job, records, pathlib.Path(checkpoint).name)
        done.append((job, result, records))
    _write(home, checkpoint, done, values.pictured)
    if judge is not None:  # the results without it are there, whatever it does
        done = judging.add(judge, done, home, print)
        _write(home, checkpoint, done, values.pictured)
    held = [result for _, result, _ in done]
    print()
    print("\n".join(results.table(held)))
    print(f"results: {home / results.FILE}")
    print(f"page: {home / page.FILE}", flush=True)


def _write(
    home: pathlib.Path, checkpoint: str, done: Sequence[Done], pictured: int
) -> None:
    held = [result for _, result, _ in done]
    results.write(home, {"checkpoint": checkpoint}, held)
    sections = [
        Section(result, page.shown(job, records, pictured))
        for job, result, records in done
    ]
    page.write(home, checkpoint, sections)


if __name__ == "__main__":
    cli.explained(main, sys.argv)

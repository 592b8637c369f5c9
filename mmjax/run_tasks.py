"""Few-shot tasks that a run is evaluated on, at its end and on the way."""

import pathlib
from collections.abc import Callable, Iterator, Sequence

from data_pipelines import paths
from mmjax import checkpoint, metrics
from mmjax.answering import Answerer
from mmjax.config import Config
from mmjax.evaluation import jobs, results
from mmjax.evaluation.jobs import Choice, Job
from mmjax.evaluation.results import Result
from mmjax.run_setup import Run

Results = dict[str, dict[int, Result]]  # by task and solved examples

_BATCH = 16


def open(run: Run) -> list[Job]:
    """The jobs of `evaluation.tasks`, so that what is missing is told at the start.

    ValueError for that.
    """
    return list(_jobs(run.config))


def _jobs(config: Config) -> Iterator[Job]:
    asked = config.evaluation
    choice = Choice(tuple(asked.shots), asked.examples, config.seed)
    for name in asked.tasks:
        if name == jobs.QUESTIONS:
            folder = paths.of(config.data.root) / asked.questions
            yield from jobs.of_questions(str(folder), choice)
        else:
            yield from jobs.of_task(
                name, "", pathlib.Path(asked.tasks_root) / name, choice
            )


def evaluate(
    run: Run,
    wanted: Sequence[Job],
    answerer: Answerer | None,
    done: int,
    say: Callable[[str], None],
) -> Results:
    """The results of the jobs after `done` steps, those of the first process whole.

    Files of each are left in the run's `evaluation`, as `mmjax.evaluate` leaves them
    for the checkpoint of that step: it goes on from these answers.
    """
    found: Results = {}
    if answerer is None:
        return found
    same = str((checkpoint.folder_of(run.workdir) / str(done)).absolute())
    home = results.folder_of(run.workdir / results.FOLDER, same)
    given = jobs.run(answerer, wanted, home, same, _BATCH, lambda text: None)
    for job, result, _ in given:
        found.setdefault(job.name, {})[result.shots] = result
    for name, by_shots in found.items():
        say(line(name, by_shots))
    return found


def record(found: Results) -> metrics.Record:
    """The figures that are quoted, as a record: `tasks/NAME/4shot` and so on."""
    return {
        f"tasks/{name}/{shots}shot": result.figures[result.main].value
        for name, by_shots in found.items()
        for shots, result in by_shots.items()
        if result.main in result.figures
    }


def line(name: str, by_shots: dict[int, Result]) -> str:
    """The results of a task in words."""
    one = next(iter(by_shots.values()))
    if not any(result.main in result.figures for result in by_shots.values()):
        return f"{name}: no example fits a row"
    told = ", ".join(
        f"{shots} shots {result.figures[result.main].value:.3g}"
        + f" ({result.dropped / result.examples:.1f} of them without room)"
        * bool(result.dropped)
        for shots, result in by_shots.items()
        if result.main in result.figures
    )
    return f"{name}: {one.main} of {one.examples} with {told}"

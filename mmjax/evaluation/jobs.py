"""What is to be evaluated: a task's examples, how they are asked, what is noted."""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from mmjax import processes
from mmjax.answering import Answerer
from mmjax.evals import shots, tasks
from mmjax.evals.example import Example
from mmjax.evaluation import asking, nearness, own, results, running
from mmjax.evaluation.asking import Manner
from mmjax.evaluation.results import Result

QUESTIONS = "questions"  # names the question documents of a run's own data


class Choice(NamedTuple):
    """What all jobs share."""

    shots: tuple[int, ...] = (0,)
    limit: int = 0  # examples of a task; 0: all
    seed: int = 0  # of that choice, of the solved examples, of the intervals
    instruct: bool = False  # prompts for models tuned on instructions
    similar: bool = False  # solved examples are those whose images are most like it
    exchanged: bool = False  # solved examples show each other's answers
    meteor: bool = False  # captions are scored by METEOR, too


class Job(NamedTuple):
    """One task with one number of solved examples."""

    name: str
    manner: Manner
    examples: Sequence[Example]
    settings: dict[str, Any]  # noted beside its answers
    similar: bool = False  # as in `Choice`

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"{self.name}-{self.manner.shots}shot"


def of_task(name: str, split: str, root: pathlib.Path, choice: Choice) -> Iterator[Job]:
    """The jobs of a task of the table, whose files lie in `root`.

    ValueError says what is missing, and where to put it.
    """
    examples = tasks.load(name, root, split)
    task = tasks.TASKS[name]
    if choice.meteor and "captions" in task.scorers:
        task = task._replace(scorers=(*task.scorers, "meteor"))
    split = split or next(iter(task.splits))
    prompt = task.prompt
    if choice.instruct:
        if task.instruct is None:
            raise ValueError(f"{name}: has no prompt for models tuned on instructions")
        prompt = task.instruct
    chosen = some(examples, choice)
    _require_images(f"{name} ({split})", chosen)
    pool = shots.pool([], True)
    if any(choice.shots):
        pool = asking.pool(name, root, examples, split)
    settings = {"task": name, "split": split, "prompt": prompt.template}
    for count in choice.shots:
        manner = Manner(task, prompt, count, pool, choice.seed)
        yield _job(name, manner, chosen, settings, choice)


def of_questions(folder: str | pathlib.Path, choice: Choice) -> Iterator[Job]:
    """The jobs of a folder of question documents, for each kind of question."""
    for kind, examples in own.load(folder).items():
        name = f"{QUESTIONS}.{kind}" if kind else QUESTIONS
        chosen = some(examples, choice)
        settings = {"task": name, "split": str(folder), "prompt": "as they stand"}
        pool = shots.pool(examples, True)
        for count in choice.shots:
            manner = Manner(own.TASK, own.TASK.prompt, count, pool, choice.seed)
            yield _job(name, manner, chosen, settings, choice)


def run(
    answerer: Answerer,
    jobs: Sequence[Job],
    home: pathlib.Path,
    checkpoint: str,
    batch: int,
    say: Callable[[str], None],
) -> Iterator[tuple[Job, Result, list[dict[str, Any]]]]:
    """Does the jobs one after the other, into files of a folder.

    Gives each with its figures and the records of its examples, which of several
    processes the first one has. ValueError as `running.run`.
    """
    finders: dict[str, nearness.Find] = {}  # by task, whatever the number of shots

    def similar(job: Job, query: Example, count: int) -> list[Example]:
        if job.name not in finders:
            say(f"{job.name}: looking for similar images")
            pool = job.manner.pool
            finders[job.name] = nearness.finder(answerer, pool, job.examples)
        return finders[job.name](query, count)

    for job in jobs:
        settings = {"checkpoint": checkpoint, **job.settings}
        manner = job.manner
        if job.similar:
            manner = manner._replace(find=functools.partial(similar, job))
        said = running.run(
            answerer, manner, job.examples, home, job.stem, settings, batch, say
        )
        result, records = results.score(
            job.manner.task, job.examples, said, job.name, settings, job.manner.seed
        )
        if processes.first():
            results.write_examples(home / f"{job.stem}.jsonl", records)
        yield job, result, records


def some(examples: Sequence[Example], choice: Choice) -> list[Example]:
    """At most `limit` of the examples, in their order; more hold all that fewer do."""
    if not choice.limit or len(examples) <= choice.limit:
        return list(examples)

    def draw(example: Example) -> bytes:
        return hashlib.blake2b(f"{choice.seed} {example.id}".encode()).digest()

    chosen = {id(each) for each in sorted(examples, key=draw)[: choice.limit]}
    return [example for example in examples if id(example) in chosen]


def _job(
    name: str,
    manner: Manner,
    examples: Sequence[Example],
    settings: dict[str, Any],
    choice: Choice,
) -> Job:
    similar = choice.similar and bool(manner.shots)
    exchanged = choice.exchanged and bool(manner.shots)
    more = {"shots": manner.shots, "seed": manner.seed, "similar": similar}
    if exchanged:
        name, more = f"{name}.exchanged", {**more, "exchanged": True}
        manner = manner._replace(exchanged=True)
    return Job(name, manner, examples, {**settings, **more}, similar)


def _require_images(what: str, examples: Sequence[Example]) -> None:
    paths = [i for e in examples for i in e.images if isinstance(i, str)]
    missing = [path for path in paths if not pathlib.Path(path).is_file()]
    if missing:
        raise ValueError(
            f"{what}: {len(missing)} of {len(paths)} images are missing, the first is "
            f"{missing[0]}"
        )

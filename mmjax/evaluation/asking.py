"""From an example of a task to the requests that a model is given for it."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from data_pipelines.records import Image, Segment, Text
from data_pipelines.tokenizer import Tokenizer
from mmjax import answering
from mmjax.answering import Answer, Request
from mmjax.config import Config
from mmjax.evals import prompts, shots, tasks
from mmjax.evals.example import Example, Output
from mmjax.evals.prompts import Prompt
from mmjax.evals.shots import Parts, Pool
from mmjax.evals.tasks import Task
from mmjax.evaluation import nearness

MARK = "<image>"  # stands for an image where a prompt is shown as text


class Manner(NamedTuple):
    """How the examples of a task are asked."""

    task: Task
    prompt: Prompt
    shots: int  # solved examples before each query
    pool: Pool  # where they are drawn from
    seed: int
    find: nearness.Find | None = None  # those most like the query; None: at random
    exchanged: bool = False  # they show each other's answers


class Query(NamedTuple):
    """An example as it is asked."""

    example: Example
    text: str  # the prompt, each image as MARK
    requests: tuple[Request, ...]  # one, or one of each choice's context
    shots: tuple[str, ...]  # ids of the solved examples
    dropped: int  # solved examples that were drawn and had no room


def query(
    manner: Manner, config: Config, tokenizer: Tokenizer, example: Example
) -> Query:
    """The example behind its solved ones, as many of them as a row has room for.

    ValueError where it doesn't fit alone, or an image can't be read.
    """
    if manner.find is None:
        drawn = shots.draw(manner.pool, example, manner.shots, manner.seed)
    else:
        drawn = manner.find(example, manner.shots)
    solved = shots.solve(manner.prompt, drawn)
    if manner.exchanged:
        solved = shots.exchange(solved, example, manner.seed)

    look = functools.cache(answering.image)  # an image is read once for all attempts

    def request(parts: Parts, place: int | None) -> Request:
        return _request(manner.task, example, _segments(parts, look), place)

    def fits(parts: Parts) -> bool:
        return _fits(config, tokenizer, request(parts, None))

    put = _put(example)
    asked = [shots.ask(manner.prompt, each, solved, fits) for each in put]
    dropped = max(one.dropped for one in asked)  # the same ones before each context
    kept = solved[dropped:]
    asked = [shots.ask(manner.prompt, each, kept, lambda parts: True) for each in put]
    requests = tuple(request(one.parts, place) for place, one in enumerate(asked))
    return Query(example, shown(asked[0].parts), requests, asked[0].shots, dropped)


def output(task: Task, given: Sequence[Answer]) -> Output:
    """What a query's answers say of its example."""
    if task.mode == "generate":
        return Output(given[0].text)
    scores = [score for answer in given for score in answer.scores]
    return Output(
        logprobs=tuple(score.total for score in scores),
        greedy=tuple(score.greedy for score in scores),
    )


def pool(task: str, root: pathlib.Path, asked: Sequence[Example], split: str) -> Pool:
    """Where the solved examples of a task are drawn from; ValueError as `tasks.load`.

    The split that the table names for it, or the one that is asked.
    """
    demos = tasks.TASKS[task].demos
    if demos in ("", split):
        return shots.pool(asked, True)
    return shots.pool(tasks.load(task, root, demos), False)


def _put(example: Example) -> list[Example]:
    """The example as it is put: once, or once with the context of each choice."""
    if not example.contexts:
        return [example]
    return [example._replace(question=context) for context in example.contexts]


def _fits(config: Config, tokenizer: Tokenizer, request: Request) -> bool:
    used = answering.positions(config, tokenizer, request.parts)
    more = answering.room(tokenizer, request)
    return used + more <= config.data.row_tokens


def _segments(
    parts: Parts, look: Callable[[str | bytes], Image]
) -> tuple[Segment, ...]:
    return tuple(
        look(part.content) if isinstance(part, prompts.Image) else Text(part)
        for part in parts
    )


def _request(
    task: Task, example: Example, segments: tuple[Segment, ...], place: int | None
) -> Request:
    """What a model is asked; of an example with contexts, of the one at `place`."""
    if task.mode == "generate":
        return Request(segments, task.new_tokens, stop=task.stops)
    choices = example.choices
    if example.contexts and place is not None:
        choices = choices[place : place + 1]
    return Request(segments, continuations=tuple(f" {text}" for text in choices))


def shown(parts: Parts) -> str:
    """Parts of a prompt as text, each image as MARK."""
    return "".join(part if isinstance(part, str) else MARK for part in parts)

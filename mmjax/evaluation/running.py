"""Queries answered in batches; what is answered is on disk, and isn't asked again.

All processes of a run ask the same; the first one reads and writes the files.

A run is two files: NAME.asked.json, what was asked and how, and NAME.jsonl, a line for
each example: id, images, prompt, shots, dropped, and what the model gave (`text`, or
`logprobs` and `greedy`). Once all are answered, `results` adds what was made of it.
"""

import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax import answering, json_lines, processes
from mmjax.answering import Answerer
from mmjax.evals import shots
from mmjax.evals.example import Example, Output
from mmjax.evaluation import asking
from mmjax.evaluation.asking import Manner, Query

_KEPT = ("id", "images", "prompt", "shots", "dropped", "text", "logprobs", "greedy")


class Said(NamedTuple):
    """What a model gave for an example, and how it was asked."""

    output: Output
    record: dict[str, Any]  # the example's line


def run(
    answerer: Answerer,
    manner: Manner,
    examples: Sequence[Example],
    home: pathlib.Path,
    name: str,
    settings: dict[str, Any],
    batch: int,
    say: Callable[[str], None],
) -> dict[str, Said]:
    """What the model gives for each example, by id; goes on where it was stopped.

    Those that don't fit a row have no entry, and of processes the first one alone has
    those that were answered before. ValueError where the folder has answers to
    something else, naming it, or an example can't be asked.
    """
    path = home / f"{name}.jsonl"
    done: dict[str, Said] = {}
    if processes.first():
        home.mkdir(parents=True, exist_ok=True)
        _require_same(home / f"{name}.asked.json", settings)
        done = read(path)
    open_ = processes.as_first(np.array([e.id not in done for e in examples], bool))
    left = [example for example, asked in zip(examples, open_) if asked]
    if len(left) < len(examples):
        say(f"{name}: {len(examples) - len(left)} examples are answered already")
    for start in range(0, len(left), batch):
        queries = _queries(answerer, manner, left[start : start + batch])
        fresh = _answered(answerer, manner, queries)
        if processes.first():
            json_lines.append(path, [said.record for said in fresh.values()])
        done |= fresh
        say(f"{name}: {min(start + batch, len(left))} of {len(left)} examples asked")
    wanted = {example.id for example in examples}
    return {id: said for id, said in done.items() if id in wanted}


def read(path: pathlib.Path) -> dict[str, Said]:
    """The answers that a file holds, by id; ValueError where it is something else.

    Without what was made of them, which is made anew.
    """
    return {
        id: Said(_output(path, record), {k: record[k] for k in _KEPT if k in record})
        for id, record in json_lines.read(path, "answer").items()
    }


def _output(path: pathlib.Path, record: dict[str, Any]) -> Output:
    try:
        if "text" in record:
            return Output(record["text"])
        likely, greedy = record["logprobs"], record["greedy"]
        return Output(logprobs=tuple(likely), greedy=tuple(greedy))
    except (LookupError, TypeError) as error:
        raise ValueError(f"{path}, id {record['id']}: no answer") from error


def _require_same(path: pathlib.Path, settings: dict[str, Any]) -> None:
    """Notes the settings, or raises ValueError where others are noted already."""
    if not path.exists():
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return
    held = json.loads(path.read_text(encoding="utf-8"))
    for key in settings:
        if held.get(key) != settings[key]:
            raise ValueError(
                f"{path} was made with {key}={held.get(key)}, not {settings[key]}: "
                "choose another --out, or remove its files"
            )


def _queries(
    answerer: Answerer, manner: Manner, examples: Sequence[Example]
) -> Iterator[Query]:
    """Queries of those examples that fit a row."""
    for example in examples:
        try:
            yield asking.query(manner, answerer.config, answerer.tokenizer, example)
        except shots.TooLongError:
            continue


def _answered(
    answerer: Answerer, manner: Manner, queries: Iterator[Query]
) -> dict[str, Said]:
    held = list(queries)
    requests = [request for query in held for request in query.requests]
    answers = iter(answering.answer(answerer, requests) if requests else [])
    found = {}
    for query in held:
        given = [next(answers) for _ in query.requests]
        output = asking.output(manner.task, given)
        found[query.example.id] = Said(output, _record(query, output))
    return found


def _record(query: Query, output: Output) -> dict[str, Any]:
    record: dict[str, Any] = {
        "id": query.example.id,
        "images": [i for i in query.example.images if isinstance(i, str)],
        "prompt": query.text,
        "shots": list(query.shots),
        "dropped": query.dropped,
    }
    if output.logprobs:
        given = {"logprobs": list(output.logprobs), "greedy": list(output.greedy)}
        return record | given
    return record | {"text": output.text}

"""Visual questions with ten answers: VQAv2, OK-VQA, VizWiz, TextVQA."""

import pathlib
from collections.abc import Iterator
from typing import Any

from mmjax.evals.example import Example
from mmjax.evals.readers import files


def pair(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """A questions file and, unless they are secret, its annotations file.

    OK-VQA's raw answers, which its `answer` fields are stems of, stand in the facts.
    """
    path, *rest = paths
    annotations: dict[Any, files.Record] = {}

    def note(record: files.Record) -> list[Example]:
        annotations[record["question_id"]] = record
        return []

    for other in rest:
        listed = files.field(files.load(other), "annotations", other)
        for _ in files.examples(other, listed, note):
            pass

    def make(record: files.Record) -> Example:
        key = record["question_id"]
        found = annotations[key] if rest else {"answers": []}
        facts = {"question_id": key}
        if any("raw_answer" in answer for answer in found["answers"]):
            facts["raw_answers"] = tuple(a["raw_answer"] for a in found["answers"])
        for name in ("question_type", "answer_type"):
            if name in found:
                facts[name] = found[name]
        return Example(
            str(key),
            (picture.format(record["image_id"]),),
            record["question"],
            references=tuple(answer["answer"] for answer in found["answers"]),
            facts=facts,
        )

    yield from files.examples(
        path, files.field(files.load(path), "questions", path), make
    )


def vizwiz(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """VizWiz' list of `{"image", "question", "answers": [{"answer"}]}`, or lines."""
    [path] = paths
    yield from files.examples(path, files.rows(path), lambda r: _one(r, picture))


def textvqa(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """TextVQA's `data`, or its records as lines."""
    [path] = paths
    if ".jsonl" in path.name:
        records = files.rows(path)
    else:
        records = files.field(files.load(path), "data", path)
    yield from files.examples(path, records, lambda r: _one(r, picture))


def _one(record: files.Record, picture: str) -> Example:
    """A record that holds question and answers."""
    image = record["image"] if "image" in record else record["image_id"]
    key = record.get("question_id", image)
    answers = [
        answer["answer"] if isinstance(answer, dict) else answer
        for answer in record.get("answers", ())
    ]
    return Example(
        str(key),
        (picture.format(image),),
        record["question"],
        references=tuple(answers),
        facts={"question_id": key, "image": image},
    )

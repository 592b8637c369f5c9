"""GQA: questions keyed by id, and the choices that count as valid and plausible."""

import pathlib
from collections.abc import Iterator
from typing import Any

from mmjax.evals.example import Example
from mmjax.evals.readers import files


def read(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """The questions file and, where there is one, the choices file."""
    path, *rest = paths
    questions = files.load(path)
    choices = files.load(rest[0]) if rest else None
    if not isinstance(questions, dict):
        raise ValueError(f"{path} is no object of questions by id")

    def make(item: tuple[str, Any]) -> Example:
        key, record = item
        types, groups = record.get("types") or {}, record.get("groups") or {}
        of = choices[key] if choices is not None else None
        return Example(
            key,
            (picture.format(record["imageId"]),),
            record["question"],
            references=(record["answer"],) if "answer" in record else (),
            facts={
                "question_id": key,
                "balanced": record.get("isBalanced", True),
                "structural": types.get("structural", "query"),
                "detailed": types.get("detailed", ""),
                "group": groups.get("global"),
                "entailed": tuple(record.get("entailed") or ()),
                "valid": tuple(of["valid"]) if of is not None else None,
                "plausible": tuple(of["plausible"]) if of is not None else None,
            },
        )

    yield from files.examples(path, questions.items(), make)

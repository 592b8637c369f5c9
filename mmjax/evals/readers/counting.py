"""TallyQA: how many questions, simple and complex."""

import pathlib
from collections.abc import Iterator

from mmjax.evals.example import Example
from mmjax.evals.readers import files


def read(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """TallyQA's list of records."""
    [path] = paths

    def make(record: files.Record) -> Example:
        simple = record["issimple"] if "issimple" in record else record["simple"]
        return Example(
            str(record["question_id"]),
            (picture.format(record["image"]),),
            record["question"],
            references=(str(int(record["answer"])),),
            facts={"question_id": record["question_id"], "simple": bool(simple)},
        )

    yield from files.examples(path, files.rows(path), make)

"""Questions with lettered options: ScienceQA, MMBench, SEED-Bench, MMMU."""

import ast
import base64
import pathlib
import re
from collections.abc import Iterator

from mmjax.evals.example import Example
from mmjax.evals.readers import files

_IMAGE = re.compile(r"<image (\d)>")


def scienceqa(paths: list[pathlib.Path], picture: str, split: str) -> Iterator[Example]:
    """ScienceQA's problems.json, those that pid_splits.json lists for a split."""
    path, listing = paths
    problems = files.load(path)
    ids = files.field(files.load(listing), split, listing)

    def make(key: str) -> Example:
        record = problems[key]
        image = record.get("image")
        return Example(
            key,
            (picture.format(f"{key}/{image}"),) if image else (),
            record["question"],
            tuple(record["choices"]),
            _place(record["answer"], len(record["choices"])),
            hint=record.get("hint") or "",
            facts={"question_id": key, "group": "image" if image else "text"},
        )

    yield from files.examples(path, ids, make)


def mmbench(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """MMBench's TSV, images inside; a rotation has the question's index + n million."""
    del picture
    [path] = paths

    def make(record: files.Record) -> Example:
        choices = tuple(record[n] for n in "ABCD" if record.get(n) not in (None, ""))
        answer = record.get("answer") or ""
        return Example(
            record["index"],
            (base64.b64decode(record["image"], validate=True),),
            record["question"],
            choices,
            _place(ord(answer) - ord("A"), len(choices)) if answer else None,
            hint=record.get("hint") or "",
            facts={
                "question": str(int(record["index"]) % 1_000_000),
                "group": record.get("category") or "",
            },
        )

    yield from files.examples(path, files.rows(path), make)


def seed(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """SEED-Bench's questions on images (those on videos are left out)."""
    [path] = paths
    content = files.load(path)
    kinds = {number: name for name, number in content.get("question_type", {}).items()}

    def make(record: files.Record) -> list[Example]:
        if record["data_type"] != "image":
            return []
        choices = tuple(str(record[f"choice_{letter}"]) for letter in "abcd")
        kind = record["question_type_id"]
        return [
            Example(
                str(record["question_id"]),
                (picture.format(record["data_id"]),),
                record["question"],
                choices,
                _place(ord(record["answer"]) - ord("A"), len(choices)),
                facts={
                    "question_id": record["question_id"],
                    "group": kinds.get(kind, str(kind)),
                },
            )
        ]

    yield from files.examples(path, files.field(content, "questions", path), make)


def mmmu(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """MMMU's parquet files, one a subject; images stand where `<image n>` says."""
    del picture
    for path in paths:
        yield from files.examples(path, files.rows(path), _mmmu)


def _mmmu(record: files.Record) -> Example:
    choices = tuple(ast.literal_eval(record["options"] or "[]"))
    said = " ".join((record["question"], *choices))
    shown = [int(number) for number in _IMAGE.findall(said)] or [1]
    answer = record["answer"]
    answers = (answer,)
    if answer.startswith("["):
        answers = tuple(str(a) for a in ast.literal_eval(answer))
    secret = answer in ("", "?")
    place = (
        _place(ord(answer) - ord("A"), len(choices)) if choices and not secret else None
    )
    return Example(
        record["id"],
        tuple(record[f"image_{number}"]["bytes"] for number in dict.fromkeys(shown)),
        record["question"],
        choices,
        place,
        () if secret else answers,
        facts={"image_numbers": tuple(dict.fromkeys(shown))},
    )


def _place(place: int, choices: int) -> int:
    """The place of the right option, if there is such a one."""
    if not 0 <= place < choices:
        raise ValueError(f"the answer is option {place} of {choices}")
    return place

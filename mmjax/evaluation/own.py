"""Question documents as tasks: those of a prepared folder, a task for each kind.

A question is what stands before the last text of its document, images in place; that
text, which is trained, is its answer.
"""

import pathlib
from collections.abc import Sequence

from data_pipelines import records
from data_pipelines.records import Document, Image, Text
from data_pipelines.shard_reader import ShardReader
from mmjax.evals.example import Example
from mmjax.evals.prompts import Prompt
from mmjax.evals.tasks import Task

# Solved ones follow each other as in web documents: an image, its text, an image.
TASK = Task(
    {},
    Prompt("{question}", ""),
    ("same",),
    "accuracy",
    stops=("\n", "."),
)


def load(folder: str | pathlib.Path) -> dict[str, list[Example]]:
    """The questions of a folder of shards, by kind; ValueError where there are none."""
    reader = ShardReader(folder)
    found: dict[str, list[Example]] = {}
    for number in range(len(reader)):
        document = records.decode(reader.read(number))
        example = _example(str(number), document)
        if example is not None:
            found.setdefault(document.kind, []).append(example)
    if not found:
        raise ValueError(f"{folder}: holds no document that ends in an answer")
    return dict(sorted(found.items()))


def _example(id: str, document: Document) -> Example | None:
    """The question of a document; None where it doesn't end in one answer."""
    *before, last = document.segments
    trained = [isinstance(part, Text) and part.loss for part in document.segments]
    if sum(trained) != 1 or not trained[-1]:
        return None
    assert isinstance(last, Text)
    shown = last.text.strip()
    images = tuple(part.data for part in before if isinstance(part, Image))
    return Example(
        id,
        images,
        _question(before),
        references=(shown.rstrip("."),),
        facts={
            "image_numbers": tuple(range(1, len(images) + 1)),
            "shown": shown,
            "kind": document.kind,
            "group": document.meta.get("group"),
        },
    )


def _question(before: Sequence[Text | Image]) -> str:
    """Texts, with `<image n>` where the nth image stands."""
    found, count = "", 0
    for part in before:
        if isinstance(part, Image):
            count += 1
            found += f"<image {count}>"
        else:
            found += part.text
    return found

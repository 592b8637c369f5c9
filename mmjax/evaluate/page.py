"""The page of an evaluation: its table, and examples with their pictures."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmjax import files, page
from mmjax.evals import prompts
from mmjax.evaluation import results
from mmjax.evaluation.jobs import Job
from mmjax.evaluation.results import Result

FILE = "page.html"
RIGHT = 0.5  # a score from which on an answer counts as right, for the filter
_JUDGED = {True: "yes", False: "no", None: ""}
SIDE = 224  # pixels of the longer side of a picture


class Shown(NamedTuple):
    """One example on the page."""

    id: str
    images: list[str]  # data URIs
    question: str
    answer: str
    references: list[str]
    score: float | None
    state: str  # right, wrong or open
    judged: str = ""  # what a judge says, if one was asked


class Section(NamedTuple):
    """One result and some of its examples."""

    result: Result
    examples: list[Shown]


def shown(job: Job, records: Sequence[Mapping[str, Any]], count: int) -> list[Shown]:
    """The first examples of a job as the page shows them."""
    examples = {example.id: example for example in job.examples}
    found = []
    for record in records[:count]:
        example = examples[record["id"]]
        score = record.get("score")
        state = "open" if score is None else "right" if score >= RIGHT else "wrong"
        found.append(
            Shown(
                example.id,
                [_picture(each) for each in example.images],
                _question(job, example),
                record["parsed"],
                _references(record),
                score,
                state,
                _JUDGED[record.get("judged")],
            )
        )
    return found


def write(home: pathlib.Path, checkpoint: str, sections: Sequence[Section]) -> None:
    """Writes the page."""
    template = pathlib.Path(__file__).with_name("page.html.jinja")
    text = (
        page.environment()
        .from_string(template.read_text(encoding="utf-8"))
        .render(
            step=pathlib.Path(checkpoint).name,
            checkpoint=checkpoint,
            sections=sections,
            rows=results.rows([section.result for section in sections]),
        )
    )
    files.replace(home / FILE, text)


def _picture(content: str | bytes) -> str:
    """A small picture as a data URI."""
    data = content if isinstance(content, bytes) else pathlib.Path(content).read_bytes()
    return page.data_uri(data, SIDE)


def _question(job: Job, example: Any) -> str:
    parts = prompts.fill(job.manner.prompt, example)
    return " ".join(part for part in parts if isinstance(part, str)).strip()


def _references(record: Mapping[str, Any]) -> list[str]:
    if "answer" in record and "choices" in record:
        return [record["choices"][record["answer"]]]
    if "answer" in record:
        return [chr(ord("A") + record["answer"])]
    return list(dict.fromkeys(record.get("references", ())))

"""TallyQA: exact numbers, simple and complex questions apart."""

import re
from collections.abc import Sequence

from mmjax.evals import metric
from mmjax.evals.metric import Metric
from mmjax.evals.scorers import vqa_answers

_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.]*\d)")


def number(text: str) -> int | None:
    """The first whole number of an answer, in digits or words up to ten, or None."""
    found = _NUMBER.search(vqa_answers.official(text))
    return int(found[0]) if found else None


def score(
    predictions: Sequence[str], answers: Sequence[int], simple: Sequence[bool]
) -> dict[str, Metric]:
    """Shares of exact numbers; an answer without one is wrong and counted apart."""
    said = [number(text) for text in predictions]
    hits = [s == true for s, true in zip(said, answers, strict=True)]
    return {
        "accuracy": metric.mean(hits),
        "accuracy/simple": metric.mean(hits, simple),
        "accuracy/complex": metric.mean(hits, [not s for s in simple]),
        "unparsed": metric.mean([s is None for s in said]),
    }

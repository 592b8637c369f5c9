"""GQA's figures: accuracy, binary and open, consistency, validity, distribution.

Predictions are compared as they are: the official scorer normalises nothing. What is
usually done before it, a final full stop dropped and lowercase, is `plain`.
"""

import collections
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mmjax.evals import metric
from mmjax.evals.metric import Metric

# Questions "what do they have in common": the three answers their choices don't list.
_COMMON = ("color", "material", "shape")


class Question(NamedTuple):
    """What the official questions file says of a question, in its own terms."""

    answer: str
    balanced: bool = True
    structural: str = "query"  # "query" is open, all others are binary
    detailed: str = ""
    group: str | None = None  # global group, of the distribution
    entailed: tuple[str, ...] = ()  # ids of questions whose answers follow
    valid: tuple[str, ...] | None = None  # None: no choices file
    plausible: tuple[str, ...] | None = None


def plain(text: str) -> str:
    """An answer as LLaVA hands it to the official scorer."""
    return text.rstrip(".").lower()


def score(
    predictions: Mapping[str, str], questions: Mapping[str, Question]
) -> dict[str, Metric]:
    """The official figures, shares of 1 (the distance of distributions is a number).

    Only balanced questions count; the others serve consistency, which is left out where
    an entailed question is unknown or has no prediction, as validity and plausibility
    are without choices. ValueError names a balanced question without a prediction.
    """
    asked = {key: q for key, q in questions.items() if q.balanced}
    lost = next((key for key in asked if key not in predictions), None)
    if lost is not None:
        raise ValueError(
            f"GQA question {lost} has no prediction: all balanced ones need one"
        )
    hits = [predictions[key] == q.answer for key, q in asked.items()]
    is_open = [q.structural == "query" for q in asked.values()]
    return {
        "accuracy": metric.mean(hits),
        "binary": metric.mean(hits, [not kind for kind in is_open]),
        "open": metric.mean(hits, is_open),
        **_consistency(predictions, questions, asked),
        **_among_choices(predictions, asked),
        "distribution": _distribution(predictions, asked),
    }


def _consistency(
    predictions: Mapping[str, str],
    questions: Mapping[str, Question],
    asked: Mapping[str, Question],
) -> dict[str, Metric]:
    """Accuracy on what follows from a rightly answered question, a mean over those."""
    scores, counted = [], []
    for key, question in asked.items():
        others = [other for other in question.entailed if other != key]
        if any(other not in questions or other not in predictions for other in others):
            return {}
        right = [predictions[other] == questions[other].answer for other in others]
        counted.append(predictions[key] == question.answer and bool(others))
        scores.append(sum(right) / len(right) if counted[-1] else 0.0)
    return {"consistency": metric.mean(scores, counted)}


def _among_choices(
    predictions: Mapping[str, str], asked: Mapping[str, Question]
) -> dict[str, Metric]:
    """Validity and plausibility, where all questions have choices."""
    if any(q.valid is None or q.plausible is None for q in asked.values()):
        return {}

    def belongs(key: str, group: Sequence[str] | None) -> bool:
        common = "Common" in asked[key].detailed
        return predictions[key] in (_COMMON if common else group or ())

    return {
        "validity": metric.mean([belongs(key, q.valid) for key, q in asked.items()]),
        "plausibility": metric.mean(
            [belongs(key, q.plausible) for key, q in asked.items()]
        ),
    }


def _distribution(
    predictions: Mapping[str, str], asked: Mapping[str, Question]
) -> Metric:
    """Chi-square of answers by group, their weighted mean, by 100; lower is better.

    It is no sum over questions: it is one unit, without an interval.
    """
    gold = collections.defaultdict(collections.Counter)
    said = collections.defaultdict(collections.Counter)
    for key, question in asked.items():
        if question.group is not None:
            gold[question.group][question.answer] += 1
            said[question.group][predictions[key]] += 1
    total = weight = 0.0
    for group, counts in gold.items():
        apart = sum((said[group][a] - n) ** 2 / n for a, n in counts.items())
        total += apart * counts.total()
        weight += counts.total()
    return metric.mean([total / weight / 100 if weight else float("nan")])

"""ANLS, the similarity of DocVQA and ST-VQA: of characters, 0 below a half.

Two conventions: "mmf" keeps a similarity of exactly a half and all blanks, "docvqa"
drops it and makes runs of blanks one.
"""

from collections.abc import Sequence

from mmjax.evals import metric
from mmjax.evals.metric import Metric


def score(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, Metric]:
    """Mean similarity to the nearest reference by each convention, 0 to 1."""
    pairs = list(zip(predictions, references, strict=True))
    return {
        f"ANLS_{name}": metric.mean([rule(*pair) for pair in pairs])
        for name, rule in CONVENTIONS.items()
    }


def mmf(prediction: str, answers: Sequence[str]) -> float:
    """As MMF's STVQAANLSEvaluator; two empty texts are alike (there, an error)."""
    said = prediction.lower().strip()
    near = (similarity(said, answer.lower().strip()) for answer in answers)
    return max((s if s >= 0.5 else 0.0 for s in near), default=0.0)


def docvqa(prediction: str, answers: Sequence[str]) -> float:
    """As the `anls` package: a distance below a half counts."""
    said = " ".join(prediction.lower().split())
    near = (similarity(said, " ".join(answer.lower().split())) for answer in answers)
    return max((s if 1 - s < 0.5 else 0.0 for s in near), default=0.0)


CONVENTIONS = {"mmf": mmf, "docvqa": docvqa}


def similarity(first: str, second: str) -> float:
    """One less the edit distance by the longer text's length."""
    longest = max(len(first), len(second))
    return 1 - edit_distance(first, second) / longest if longest else 1.0


def edit_distance(first: str, second: str) -> int:
    """Insertions, deletions and exchanges of single characters (Levenshtein)."""
    above = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        row = [i]
        for j, b in enumerate(second, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
        above = row
    return above[-1]

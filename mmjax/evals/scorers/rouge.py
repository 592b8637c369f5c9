"""ROUGE-L as coco-caption counts it."""

from collections.abc import Sequence

import numpy as np

from mmjax.evals.scorers.ngrams import Tokens

_BETA2 = 1.2**2


def rouge_l(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> np.ndarray:
    """The score of each image, [images]; the corpus score is their mean.

    Precision and recall each come from the reference that is best for it.
    """
    pairs = zip(candidates, references, strict=True)
    return np.array([_score(candidate, refs) for candidate, refs in pairs])


def _score(candidate: Tokens, references: Sequence[Tokens]) -> float:
    common = [common_subsequence(candidate, reference) for reference in references]
    if not any(common):
        return 0.0
    precision = max(common) / len(candidate)
    recall = max(c / len(reference) for c, reference in zip(common, references) if c)
    return (1 + _BETA2) * precision * recall / (recall + _BETA2 * precision)


def common_subsequence(first: Tokens, second: Tokens) -> int:
    """Length of the longest common subsequence, a row of its table in one integer.

    Bit i is 0 where the table grows at word i (Hyyro 2004).
    """
    places: dict[str, int] = {}
    for i, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << i
    every = (1 << len(first)) - 1
    row = every
    for word in second:
        hits = row & places.get(word, 0)
        row = (row + hits | row - hits) & every
    return len(first) - row.bit_count()

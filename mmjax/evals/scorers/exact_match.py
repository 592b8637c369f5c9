"""Equality of normalised answers, by TriviaQA's and lm-evaluation-harness's rules.

They part on punctuation and articles: for TriviaQA "1000" is not "1,000" but "Beatles"
is "The Beatles"; for the harness it is the other way round.
"""

import collections
import re
import string
from collections.abc import Callable, Sequence

from mmjax.evals import metric
from mmjax.evals.metric import Metric

# With the quotation marks that string.punctuation lacks.
_TO_BLANK = dict.fromkeys(map(ord, string.punctuation + "\u2018\u2019\u00b4`"), " ")
_DELETED = dict.fromkeys(map(ord, string.punctuation))
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def triviaqa(answer: str) -> str:
    """Lowercase; punctuation becomes blanks, articles go, runs of blanks are one."""
    plain = answer.replace("_", " ").lower().translate(_TO_BLANK)
    return " ".join(_ARTICLE.sub(" ", plain).split())


def harness(answer: str) -> str:
    """Lowercase without punctuation (`ignore_case`, `ignore_punctuation`)."""
    return answer.lower().translate(_DELETED)


NORMALIZERS: dict[str, Callable[[str], str]] = {
    "triviaqa": triviaqa,
    "harness": harness,
}


def score(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, Metric]:
    """Share of answers that equal a reference by each rule, and TriviaQA's F1."""
    pairs = list(zip(predictions, references, strict=True))
    found = {
        f"exact_match_{name}": metric.mean([equal(*pair, rule) for pair in pairs])
        for name, rule in NORMALIZERS.items()
    }
    best = [max((f1(said, ref) for ref in refs), default=0.0) for said, refs in pairs]
    return {**found, "f1_triviaqa": metric.mean(best)}


def equal(
    prediction: str, references: Sequence[str], normalize: Callable[[str], str]
) -> bool:
    """Whether a prediction is one of the references."""
    said = normalize(prediction)
    return any(said == normalize(reference) for reference in references)


def f1(prediction: str, reference: str) -> float:
    """TriviaQA's F1 of the words of two answers."""
    said = collections.Counter(triviaqa(prediction).split())
    true = collections.Counter(triviaqa(reference).split())
    common = (said & true).total()
    return 2 * common / (said.total() + true.total()) if common else 0.0

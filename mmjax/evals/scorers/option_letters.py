"""Multiple choice by the letter of an option in a generated answer.

For SEED-Bench, MMBench and ScienceQA, each with its own reading of an answer.
"""

import collections
import re
from collections.abc import Callable, Sequence

from mmjax.evals import metric
from mmjax.evals.metric import Metric


def first_letter(text: str, options: int) -> str:
    """As LLaVA and lmms-eval read SEED-Bench: the first character."""
    return _known(text.strip()[:1], options)


def only_letter(text: str, options: int) -> str:
    """As LLaVA reads ScienceQA: a letter alone, before ". ", or "The answer is X."."""
    if len(text) == 1 or text[1:3] == ". ":
        return _known(text[0], options)
    found = re.findall(r"The answer is ([A-Z]).", text)
    return _known(found[0], options) if len(found) == 1 else ""


def lone_letter(text: str, options: int) -> str:
    """As MMBench's exact matching: the one option that stands as a word of its own."""
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", text).split()
    found = {word for word in words if _known(word, options)}
    return found.pop() if len(found) == 1 else ""


READERS: dict[str, Callable[[str, int], str]] = {
    "first_letter": first_letter,
    "only_letter": only_letter,
    "lone_letter": lone_letter,
}


def score(
    predictions: Sequence[str],
    options: Sequence[int],
    answers: Sequence[int],
    reader: str,
    groups: Sequence[str] | None = None,
) -> dict[str, Metric]:
    """Share of right letters; an answer without a letter is wrong and counted apart.

    `options` says how many each question has, `answers` which is right (from 0), and
    `groups` names a group of each for an accuracy of its own.
    """
    read = READERS[reader]
    said = [read(text, n) for text, n in zip(predictions, options, strict=True)]
    hits = [s == _letter(true) for s, true in zip(said, answers, strict=True)]
    found = {
        "accuracy": metric.mean(hits),
        "unparsed": metric.mean([not s for s in said]),
    }
    for name in sorted(set(groups or ())):
        of_group = [group == name for group in groups or ()]
        found[f"accuracy/{name}"] = metric.mean(hits, of_group)
    return found


def circular(
    predictions: Sequence[str],
    options: Sequence[int],
    answers: Sequence[int],
    questions: Sequence[str],
    reader: str = "lone_letter",
) -> Metric:
    """MMBench's circular accuracy: a question counts if right in all its rotations.

    `questions` names the question that each rotation is of; units are questions.
    """
    read = READERS[reader]
    right: dict[str, bool] = collections.defaultdict(lambda: True)
    for said, n, true, question in zip(
        predictions, options, answers, questions, strict=True
    ):
        right[question] &= read(said, n) == _letter(true)
    return metric.mean(list(right.values()))


def rotations(choices: Sequence[str], answer: int) -> list[tuple[tuple[str, ...], int]]:
    """All rotations of options and the place of the right one in each."""
    count = len(choices)
    return [
        (tuple(choices[i:]) + tuple(choices[:i]), (answer - i) % count)
        for i in range(count)
    ]


def _letter(place: int) -> str:
    return chr(ord("A") + place)


def _known(letter: str, options: int) -> str:
    """The letter, if there is such an option."""
    return letter if len(letter) == 1 and 0 <= ord(letter) - ord("A") < options else ""

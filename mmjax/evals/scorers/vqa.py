"""VQA accuracy against ten people's answers, by the official and leaderboards' rules.

Both are always computed: on the same predictions they lie up to 9 points apart, nearly
all of it from questions on which all ten people agree (`docs/evaluation.md`).
"""

from collections.abc import Sequence

from mmjax.evals import metric
from mmjax.evals.metric import Metric
from mmjax.evals.scorers import vqa_answers

AGREED = 3  # people besides oneself who make an answer wholly right


def score(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, Metric]:
    """Mean accuracy (0 to 1) by each rule, and how often they differ, in questions."""
    pairs = list(zip(predictions, references, strict=True))
    found = {name: [rule(*pair) for pair in pairs] for name, rule in RULES.items()}
    differ = [a != b for a, b in zip(found["official"], found["leaderboard"])]
    return {
        **{f"vqa_{name}": metric.mean(scores) for name, scores in found.items()},
        "rules_differ": metric.count(differ),
    }


def official(prediction: str, answers: Sequence[str]) -> float:
    """Accuracy of one answer by VQAEval.

    Answers are brought into form only if the people's are not all equal: where they
    are, "Yes." against ten times "yes" is wrong.
    """
    people = [_flat(answer) for answer in answers]
    said = _flat(prediction)
    if len(set(people)) > 1:
        people = [vqa_answers.official(answer) for answer in people]
        said = vqa_answers.official(said)
    return agreement(said, people)


def leaderboard(prediction: str, answers: Sequence[str]) -> float:
    """Accuracy of one answer by MMF's evaluator: always brought into form."""
    people = [vqa_answers.leaderboard(answer) for answer in answers]
    return agreement(vqa_answers.leaderboard(prediction), people)


def always(prediction: str, answers: Sequence[str]) -> float:
    """As lmms-eval scores VQAv2: the official form, but unanimous answers too."""
    people = [vqa_answers.official(answer) for answer in answers]
    return agreement(vqa_answers.official(prediction), people)


def anyone(prediction: str, answers: Sequence[str]) -> float:
    """As MMF scores ST-VQA: right if any one of the people said it."""
    said = vqa_answers.leaderboard(prediction)
    return float(said in {vqa_answers.leaderboard(answer) for answer in answers})


RULES = {
    "official": official,
    "leaderboard": leaderboard,
    "always": always,
    "anyone": anyone,
}


def agreement(said: str, people: Sequence[str]) -> float:
    """Mean over the people of min(1, others who said it / 3).

    People are told apart by their place: two who gave equal answers are still two.
    """
    if not people:
        return 0.0
    same = sum(answer == said for answer in people)
    of_same = min(1.0, (same - 1) / AGREED)
    of_others = min(1.0, same / AGREED)
    return (same * of_same + (len(people) - same) * of_others) / len(people)


def _flat(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()

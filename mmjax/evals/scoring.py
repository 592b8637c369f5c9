"""Which scorer takes what from examples and outputs, by name, for the table of tasks.

Texts are already post-processed here; examples without a known answer must be left out
by the caller (`known`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from mmjax.evals import metric
from mmjax.evals.example import Example, Output
from mmjax.evals.metric import Metric
from mmjax.evals.scorers import (
    anls,
    boxes,
    captions,
    choices,
    counting,
    exact_match,
    gqa,
    mme,
    mmmu,
    option_letters,
    pope,
    stems,
    true_false,
    vqa,
)

Figures = dict[str, Metric]
Scorer = Callable[[Sequence[Example], Sequence[Output]], Figures]


_GQA_FACTS = gqa.Question._fields[1:]


def known(example: Example) -> bool:
    """Whether the answer of an example is known: test sets often keep theirs secret."""
    told = example.references or "box" in example.facts
    return bool(told) or example.answer is not None


def _texts(outputs: Sequence[Output]) -> list[str]:
    return [output.text for output in outputs]


def _references(examples: Sequence[Example]) -> list[tuple[str, ...]]:
    return [example.references for example in examples]


def _facts(examples: Sequence[Example], name: str) -> list[Any]:
    return [example.facts[name] for example in examples]


def _answers(examples: Sequence[Example]) -> list[int]:
    return [-1 if e.answer is None else e.answer for e in examples]


def _captions(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    said, true = _texts(outputs), _references(examples)
    cut_at_blanks = captions.score(said, true, "nlg_eval")
    return {**captions.score(said, true), "CIDEr_nlg_eval": cut_at_blanks["CIDEr"]}


def _meteor(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    found = captions.with_meteor(_texts(outputs), _references(examples))
    return {"METEOR": found["METEOR"]}


def _vqa(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    return vqa.score(_texts(outputs), _references(examples))


def _okvqa(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    """On stems as OK-VQA is defined, and on raw answers as lmms-eval scores it."""
    pairs = [
        pair
        for example in examples
        for pair in zip(example.facts.get("raw_answers", ()), example.references)
    ]
    table = stems.learn(pairs)
    said = _texts(outputs)
    stemmed = [stems.stem(text, table) for text in said]
    raw = [e.facts.get("raw_answers", e.references) for e in examples]
    return {
        **vqa.score(stemmed, _references(examples)),
        **{f"{name}_raw": m for name, m in vqa.score(said, raw).items()},
    }


def _anls(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    return anls.score(_texts(outputs), _references(examples))


def _gqa(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    questions = {
        e.id: gqa.Question(e.references[0], *(e.facts[name] for name in _GQA_FACTS))
        for e in examples
    }
    return gqa.score(dict(zip(questions, _texts(outputs))), questions)


def _pope(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    return pope.score(_texts(outputs), [e.references[0] for e in examples])


def _mme(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    labels = [e.references[0] for e in examples]
    images, subtasks = _facts(examples, "image"), _facts(examples, "subtask")
    return mme.score(_texts(outputs), labels, images, subtasks)


def _vsr(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    labels = [e.references[0] == "yes" for e in examples]
    return true_false.score(_texts(outputs), labels, _facts(examples, "group"))


def _letters(reader: str) -> Scorer:
    def scorer(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
        options = [len(e.choices) for e in examples]
        groups = [e.facts.get("group", "") for e in examples]
        groups = groups if any(groups) else None
        said, true = _texts(outputs), _answers(examples)
        return option_letters.score(said, options, true, reader, groups)

    return scorer


def _mmbench(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    """Over questions as they stand, and circular: right in all rotations of a file."""
    asked = {e.facts["question"] for e in examples}
    first = [(e, o) for e, o in zip(examples, outputs) if e.id in asked]
    circular = option_letters.circular(
        _texts(outputs),
        [len(e.choices) for e in examples],
        _answers(examples),
        _facts(examples, "question"),
    )
    return {
        **_letters("lone_letter")([e for e, _ in first], [o for _, o in first]),
        "accuracy_circular": circular,
    }


def _mmmu(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    keys, options = [e.id for e in examples], [e.choices for e in examples]
    return mmmu.score(_texts(outputs), keys, options, _references(examples))


def _boxes(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    return boxes.score(_texts(outputs), _facts(examples, "box"))


def _counting(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    true = [int(e.references[0]) for e in examples]
    return counting.score(_texts(outputs), true, _facts(examples, "simple"))


def _exact(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    """TriviaQA's rule compares with its normalized aliases, the harness with all."""
    own = exact_match.score(_texts(outputs), _facts(examples, "normalized"))
    every = exact_match.score(_texts(outputs), _references(examples))
    return {**own, "exact_match_harness": every["exact_match_harness"]}


def _choices(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    logprobs = [output.logprobs for output in outputs]
    return choices.score(logprobs, [e.choices for e in examples], _answers(examples))


def _greedy(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    del examples
    return choices.greedy([o.greedy for o in outputs], [o.logprobs for o in outputs])


def _same(examples: Sequence[Example], outputs: Sequence[Output]) -> Figures:
    pairs = zip(examples, outputs, strict=True)
    return {"accuracy": metric.mean([o.text in e.references for e, o in pairs])}


SCORERS: dict[str, Scorer] = {
    "captions": _captions,
    "meteor": _meteor,
    "vqa": _vqa,
    "okvqa": _okvqa,
    "anls": _anls,
    "gqa": _gqa,
    "pope": _pope,
    "mme": _mme,
    "vsr": _vsr,
    "first_letter": _letters("first_letter"),
    "only_letter": _letters("only_letter"),
    "mmbench": _mmbench,
    "mmmu": _mmmu,
    "boxes": _boxes,
    "counting": _counting,
    "exact_match": _exact,
    "same": _same,
    "choices": _choices,
    "greedy": _greedy,
}

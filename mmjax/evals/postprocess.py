"""From what a model wrote to what is scored: named steps, applied in order."""

import re
from collections.abc import Callable, Sequence

from mmjax.evals.scorers import gqa

_NEXT_VQA = re.compile("Question|Answer|Short")


def cut(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the stop strings."""
    places = [text.find(stop) for stop in stops]
    return text[: min((place for place in places if place >= 0), default=len(text))]


def _flamingo_caption(text: str) -> str:
    """OpenFlamingo's: what follows "Output" is the next example."""
    return text.split("Output", 1)[0]


def _flamingo_vqa(text: str) -> str:
    """OpenFlamingo's, which MM1 uses: up to the next example, then up to a comma."""
    return _NEXT_VQA.split(text, maxsplit=1)[0].split(", ", 1)[0]


STEPS: dict[str, Callable[[str], str]] = {
    "strip": str.strip,
    "flamingo_caption": _flamingo_caption,
    "flamingo_vqa": _flamingo_vqa,
    "gqa": gqa.plain,
}


def apply(text: str, stops: Sequence[str], steps: Sequence[str]) -> str:
    """A text cut at its stops, then taken through the named steps."""
    text = cut(text, stops)
    for step in steps:
        text = STEPS[step](text)
    return text

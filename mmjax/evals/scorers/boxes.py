"""Grounding (RefCOCO): the box in an answer and its overlap with the true one."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mmjax.evals import metric
from mmjax.evals.metric import Metric

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
# Blanks may stand inside the brackets and after commas, not before them.
_BOX = re.compile(r"\[\s*" + r",\s*".join([r"(-?\d+(?:\.\d+)?)"] * 4) + r"\s*\]")


class Box(NamedTuple):
    """Left, top, right and bottom, as shares of the image's width and height."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


NOTHING = Box(
    0.0, 0.0, 0.0, 0.0
)  # what the official scorer takes an unreadable one for


def parse(text: str, scale: float = 1.0) -> Box | None:
    """The first `[a, b, c, d]` in a text divided by `scale`, or None.

    Round brackets are not read. `scale` is 1 for answers in shares, 1000 for Qwen's.
    """
    found = _BOX.search(text)
    return Box(*(float(number) / scale for number in found.groups())) if found else None


def iou(first: Box, second: Box) -> float:
    """Area of the intersection by that of the union; 0 where the union has none.

    A box whose corners are exchanged has, as in the official scorer, the area that the
    product of its sides gives.
    """
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    common = max(0.0, width) * max(0.0, height)
    union = first.area + second.area - common
    return common / union if union else 0.0


def center_within(true: Box, said: Box) -> bool:
    """Whether the middle of the said box lies in the true one."""
    across, down = (said.left + said.right) / 2, (said.top + said.bottom) / 2
    return true.left <= across <= true.right and true.top <= down <= true.bottom


def score(
    predictions: Sequence[str], boxes: Sequence[Sequence[float]], scale: float = 1.0
) -> dict[str, Metric]:
    """Share of boxes with an IoU of at least each threshold, mean IoU, and more.

    `boxes` are (left, top, right, bottom) in shares. "unparsed" counts answers without
    a box; they score 0.
    """
    said = [parse(text, scale) for text in predictions]
    pairs = [(Box(*t), s or NOTHING) for t, s in zip(boxes, said, strict=True)]
    overlap = [iou(*pair) for pair in pairs]
    return {
        **{f"acc@{t}": metric.mean([i >= t for i in overlap]) for t in THRESHOLDS},
        "iou": metric.mean(overlap),
        "center": metric.mean([center_within(*pair) for pair in pairs]),
        "unparsed": metric.mean([box is None for box in said]),
    }

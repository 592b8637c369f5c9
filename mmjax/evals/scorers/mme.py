"""MME: accuracy plus accuracy+ of each subtask, and their sums over both halves."""

from collections.abc import Sequence

import numpy as np

from mmjax.evals import metric
from mmjax.evals.metric import Metric
from mmjax.evals.scorers import yes_no

_PERCEPTION = """existence count position color posters celebrity scene landmark artwork
OCR"""
_COGNITION = """commonsense_reasoning numerical_calculation text_translation
code_reasoning"""
SUBTASKS = {"perception": _PERCEPTION.split(), "cognition": _COGNITION.split()}


def score(
    predictions: Sequence[str],
    labels: Sequence[str],
    images: Sequence[str],
    subtasks: Sequence[str],
) -> dict[str, Metric]:
    """Points (0 to 200) of each subtask and the sums over both halves; a unit an image.

    An image has two questions; accuracy counts questions, accuracy+ images with both
    right, each in percent. ValueError names an image that has another number of them.
    """
    hits = _hits(predictions, labels, images, subtasks)
    kinds = [name for names in SUBTASKS.values() for name in names]
    sums = np.zeros((len(hits), len(kinds), 2))
    for row, ((subtask, _), right) in enumerate(hits.items()):
        points = 50.0 * sum(right) + 100.0 * all(right)
        sums[row, kinds.index(subtask)] = points, 1.0
    flat = sums.reshape(len(hits), -1)
    found = {
        name: Metric(sums[:, kinds.index(name)], metric.ratio)
        for name in kinds
        if any(subtask == name for subtask, _ in hits)
    }
    for half, names in SUBTASKS.items():
        columns = [2 * kinds.index(name) + i for name in names for i in (0, 1)]
        found[half] = Metric(flat[:, columns], _total)
    return found


def _hits(
    predictions: Sequence[str],
    labels: Sequence[str],
    images: Sequence[str],
    subtasks: Sequence[str],
) -> dict[tuple[str, str], list[bool]]:
    """Whether the questions of each (subtask, image) were answered rightly."""
    known = {name for names in SUBTASKS.values() for name in names}
    hits: dict[tuple[str, str], list[bool]] = {}
    for said, label, image, subtask in zip(
        predictions, labels, images, subtasks, strict=True
    ):
        if subtask not in known:
            raise ValueError(f"MME has no subtask {subtask!r} (image {image})")
        right = yes_no.mme(said) == label.lower().strip().replace(".", "")
        hits.setdefault((subtask, image), []).append(right)
    for (subtask, image), right in hits.items():
        if len(right) != 2:
            raise ValueError(
                f"MME image {image} of {subtask} has {len(right)} questions, not 2"
            )
    return hits


def _total(sums: np.ndarray) -> np.ndarray:
    """The sum of the subtasks' points; a subtask without images adds none."""
    points = metric.ratio(sums.reshape(*sums.shape[:-1], -1, 2))
    return np.nan_to_num(points).sum(-1)

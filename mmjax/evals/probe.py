"""Linear probes: what can be read off an encoder's features by one linear map.

Ridge regression onto the classes, in closed form: the same features give the same
figures, and there is no rate or number of steps to choose.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RIDGE = 1e-2  # of a standardized feature's sum of squares, added to each of them


class Probe(NamedTuple):
    """How often a probe names the label of a held-out image."""

    images: int  # held-out ones
    accuracy: float
    untrained: float  # by features of an encoder that has learned nothing
    most_common: float  # share of the commonest label, which always naming it reaches


class Labelled(NamedTuple):
    """Features of images, and the label of each."""

    features: Float[np.ndarray, "n E"]
    labels: Sequence[str]


def accuracy(fitted_on: Labelled, measured_on: Labelled) -> float:
    """The share of images that a probe fitted on others names right.

    Raises ValueError where there is nothing to fit on or to measure.
    """
    if not len(fitted_on.labels) or not len(measured_on.labels):
        raise ValueError("a probe needs images to be fitted on and others to measure")
    classes = sorted(set(fitted_on.labels))
    x = fitted_on.features.astype(np.float64)
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    x = (x - mean) / deviation
    wanted = np.array(fitted_on.labels)[:, None] == np.array(classes)
    target = wanted - wanted.mean(axis=0)
    square = x.T @ x + RIDGE * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(square, x.T @ target)
    seen = (measured_on.features - mean) / deviation
    scores = seen @ weights + wanted.mean(axis=0)
    named = np.array(classes)[scores.argmax(axis=1)]
    return float((named == np.array(measured_on.labels)).mean())


def most_common(labels: Sequence[str]) -> float:
    """The share of the commonest label."""
    return Counter(labels).most_common(1)[0][1] / len(labels)

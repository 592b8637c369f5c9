"""A figure of an evaluation: sums over resampled units, and a formula of those sums.

All figures have this one form, so that subsets, corpus metrics and confidence intervals
need no code of their own: an accuracy is a sum of hits over a sum of ones, BLEU a
formula of summed counts. A unit that does not concern a figure has zeros.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# Of sums over units [..., sums] to values [...]; nan where nothing was counted.
Formula = Callable[[np.ndarray], np.ndarray]


class Metric(NamedTuple):
    """One figure of a task."""

    sums: Float[np.ndarray, "units sums"]  # what each unit adds
    formula: Formula

    @property
    def value(self) -> float:
        """The figure of all units."""
        return float(self.formula(self.sums.sum(0)))

    @property
    def each(self) -> np.ndarray:
        """The figure of every unit by itself, [units]."""
        return self.formula(self.sums)


def ratio(sums: np.ndarray) -> np.ndarray:
    """The first sum by the second, nan where that is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[..., 0] / sums[..., 1]


def mean(
    scores: Sequence[float] | np.ndarray, counted: Sequence[bool] | None = None
) -> Metric:
    """The mean score of the units that are counted, by default of all."""
    values = np.asarray(scores, np.float64)
    ones = np.ones(len(values)) if counted is None else np.asarray(counted, np.float64)
    return Metric(np.stack([np.where(ones > 0, values, 0.0), ones], -1), ratio)


def count(hits: Sequence[bool]) -> Metric:
    """The number of units for which something holds."""
    return Metric(np.asarray(hits, np.float64)[:, None], lambda sums: sums[..., 0])

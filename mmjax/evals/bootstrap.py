"""Confidence intervals of figures by resampling their units with replacement."""

import numpy as np

from mmjax.evals.metric import Metric

_ROOM = 4_000_000  # drawn counts that are held at a time


def interval(
    metric: Metric, seed: int, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """The percentile interval of a figure, (low, high); nan without units.

    Each resample draws as many units as there are and computes the figure from their
    sums, so that BLEU is resampled as a corpus metric, not as a mean. CIDEr's document
    frequencies stay those of the whole set: its units are the images' own scores.
    Resamples in which nothing is counted are left out.
    """
    units = len(metric.sums)
    if not units:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    chunk = max(1, _ROOM // units)
    chances = np.full(units, 1 / units)
    values = [
        metric.formula(rng.multinomial(units, chances, rows) @ metric.sums)
        for rows in _rows(resamples, chunk)
    ]
    tail = (1 - level) / 2
    drawn = np.concatenate(values)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def _rows(resamples: int, chunk: int) -> list[int]:
    """Resamples in pieces of at most `chunk`."""
    whole, rest = divmod(resamples, chunk)
    return [chunk] * whole + [rest] * (rest > 0)

"""Distributions: quantiles, and bins for a histogram that a page can draw."""

from typing import NamedTuple

import numpy as np

BARS = 24  # of a histogram, about


class Bar(NamedTuple):
    """How many values lie in [low, high)."""

    low: float
    high: float
    values: int


class Histogram(NamedTuple):
    """The bars of a distribution, and the figures that describe it."""

    bars: tuple[Bar, ...]
    values: int  # how many
    mean: float
    low: float  # 5 of 100 values are smaller
    median: float
    high: float  # 95 of 100 values are smaller
    most: float


EMPTY = Histogram((), 0, 0.0, 0.0, 0.0, 0.0, 0.0)


def of_counts(values: np.ndarray) -> Histogram:
    """Of integers >= 0: one bar a value, or several, or growing ones for long tails."""
    if not len(values):
        return EMPTY
    low, most = int(values.min()), int(values.max())
    typical = max(1.0, float(np.median(values)))
    if most <= BARS:
        edges = np.arange(most + 2)
    elif most <= 10 * typical:
        width = -(-(most + 1 - low) // BARS)
        edges = np.arange(low, most + 1 + width, width)
    else:
        growing = np.round(np.geomspace(max(low, 1), most + 1, BARS))
        edges = np.unique(np.concatenate([[low], growing]))
    return _histogram(values, edges)


def of_ratios(values: np.ndarray) -> Histogram:
    """Of positive numbers, where twice as much is as far as half as much."""
    if not len(values):
        return EMPTY
    places, parts = np.log2(values), 4.0  # bars of a doubling
    while np.ptp(places) * parts > BARS - 1:
        parts /= 2
    # Half a bar aside, so that 1:1, which is common, lies in the middle of a bar.
    first, last = np.floor(np.array([places.min(), places.max()]) * parts + 0.5)
    return _histogram(values, 2 ** ((np.arange(first, last + 2) - 0.5) / parts))


def _histogram(values: np.ndarray, edges: np.ndarray) -> Histogram:
    place = np.searchsorted(edges, values, side="right") - 1
    counts = np.bincount(place, minlength=len(edges) - 1).tolist()
    bars = tuple(map(Bar, edges.tolist(), edges[1:].tolist(), counts))
    low, median, high = np.quantile(values, (0.05, 0.5, 0.95)).tolist()
    mean, most = float(values.mean()), float(values.max())
    return Histogram(bars, len(values), mean, low, median, high, most)

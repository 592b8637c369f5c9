import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines.inspect import histograms

COUNTS = st.lists(st.integers(0, 50) | st.integers(0, 10**6), min_size=1, max_size=200)
RATIOS = st.lists(
    (st.floats(0.01, 100.0) | st.floats(1e-4, 1e4)), min_size=1, max_size=200
)


def check(histogram: histograms.Histogram, values: np.ndarray) -> None:
    """Every value lies in one bar, bars touch each other, and figures are right."""
    for bar in histogram.bars:
        inside = (values >= bar.low) & (values < bar.high)
        assert bar.values == inside.sum()
    for one, other in zip(histogram.bars, histogram.bars[1:]):
        assert one.high == other.low
    assert sum(bar.values for bar in histogram.bars) == len(values) == histogram.values
    assert histogram.most == values.max()
    assert histogram.mean == pytest.approx(values.mean())
    assert histogram.median == pytest.approx(np.median(values))
    assert len(histogram.bars) <= histograms.BARS + 1


@given(COUNTS)
def test_bars_of_counts_hold_every_value_once(values):
    check(histograms.of_counts(np.array(values)), np.array(values))


@given(RATIOS)
def test_bars_of_ratios_hold_every_value_once(values):
    check(histograms.of_ratios(np.array(values)), np.array(values))


def test_few_different_counts_have_a_bar_each_and_squares_a_bar_of_their_own():
    found = histograms.of_counts(np.array([3, 0, 3, 1]))
    assert [(bar.low, bar.values) for bar in found.bars] == [
        (0, 1),
        (1, 1),
        (2, 0),
        (3, 2),
    ]
    found = histograms.of_ratios(np.array([1.0, 1.0, 2.0]))
    assert found.bars[0].low < 1 < found.bars[0].high
    assert found.bars[0].values == 2


def test_nothing_has_no_bars():
    empty = np.zeros(0, np.int64)
    assert histograms.of_counts(empty).bars == histograms.of_ratios(empty).bars == ()

"""The shuffle is a permutation, and one without a pattern."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from data_pipelines import shuffle


@hypothesis.given(st.integers(1, 3000), st.text(max_size=5))
@hypothesis.settings(max_examples=80, deadline=None)
def test_every_number_stands_at_exactly_one_place(size, key):
    found = shuffle.permute(np.arange(size), size, key)
    assert found.dtype == np.int64
    assert sorted(found.tolist()) == list(range(size))


@hypothesis.given(st.integers(1, 10**12), st.data())
@hypothesis.settings(max_examples=40, deadline=None)
def test_a_place_has_its_number_whatever_else_is_asked(size, data):
    places = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20))
    together = shuffle.permute(np.array(places), size, "k")
    apart = [shuffle.permute(np.array([place]), size, "k")[0] for place in places]
    assert together.tolist() == apart
    assert (together < size).all()
    assert len(set(together.tolist())) == len(set(places))


@pytest.mark.parametrize("size", [6, 30, 1000, 65_536, 1_000_003])
def test_numbers_and_steps_are_as_even_as_chance(size):
    """Chi-squared over tenths of the range, of numbers and of their differences."""
    places, statistics = np.arange(min(size, 5000)), []
    for key in range(300 if size < 100 else 40):
        found = shuffle.permute(places, size, f"{key}")
        for values in (found[: len(found) // 2 + 1], np.diff(found) % size):
            seen = np.bincount(values * 5 // size, minlength=5)
            share = np.bincount(np.arange(size) * 5 // size, minlength=5) / size
            expected = share * len(values)
            statistics.append(((seen - expected) ** 2 / expected).sum() / 4)
    assert 0.3 < np.mean(statistics) < 1.3  # 1 for independent draws, less without


def test_the_shuffle_of_a_key_never_changes():
    """Saved runs resume only if it doesn't."""
    assert shuffle.permute(np.arange(10), 10, "a").tolist() == [
        8,
        6,
        5,
        0,
        9,
        1,
        2,
        3,
        4,
        7,
    ]
    assert shuffle.permute(np.array([0, 10**9]), 10**9 + 7, "b").tolist() == [
        675520177,
        571659180,
    ]

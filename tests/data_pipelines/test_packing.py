"""Tests of packing: rows within their limits, nothing lost, nearly full."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

from data_pipelines import packing

chunk_lists = st.lists(
    st.tuples(st.integers(1, 16), st.integers(0, 4)), min_size=1, max_size=60
)


@hypothesis.given(chunk_lists)
@hypothesis.settings(max_examples=100, deadline=None)
def test_no_row_exceeds_its_tokens_or_its_slots(pairs):
    tokens, slots = np.array(pairs).T
    rows = packing.best_fit(tokens, slots, 16, 4)
    assert (np.bincount(rows, tokens) <= 16).all()
    assert (np.bincount(rows, slots) <= 4).all()
    assert set(rows) == set(range(rows.max() + 1))


@hypothesis.given(st.lists(st.integers(1, 16), min_size=2, max_size=60))
@hypothesis.settings(max_examples=100, deadline=None)
def test_no_two_rows_would_fit_in_one(tokens):
    rows = packing.best_fit(np.array(tokens), np.zeros(len(tokens), int), 16, 4)
    used = np.sort(np.bincount(rows, tokens))
    assert len(used) == 1 or used[0] + used[1] > 16


def test_the_fullest_row_with_room_is_taken():
    tokens = np.array([10, 8, 6, 5, 3])
    rows = packing.best_fit(tokens, np.zeros(5, int), 16, 4)
    assert rows.tolist() == [0, 1, 0, 1, 1]


def test_where_slots_are_scarce_they_are_packed_full():
    """Pairs of 3 and 1 slots; by tokens alone, the light ones would come together."""
    slots = np.array([3, 3, 3, 1, 1, 1])
    tokens = np.array([1, 1, 1, 2, 2, 2])
    rows = packing.best_fit(tokens, slots, 16, 4)
    np.testing.assert_array_equal(np.bincount(rows, slots), [4, 4, 4])


def test_windows_of_2048_documents_are_nearly_full():
    rng = np.random.default_rng(0)
    tokens = np.minimum(rng.lognormal(6.2, 1, 2048).astype(int) + 1, 4096)
    rows = packing.best_fit(tokens, np.zeros_like(tokens), 4096, 1)
    assert tokens.sum() / (4096 * (rows.max() + 1)) > 0.99

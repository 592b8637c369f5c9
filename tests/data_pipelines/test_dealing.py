"""Tests of dealing: sources stay in place, no row is lost, groups balance."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

from data_pipelines import dealing
from data_pipelines.mixture import Mixture


def random_block(seed: int, groups: int, rows_per_pool: int, weights=(45, 45, 10)):
    """Slots of captions (about 24), interleaved documents (0 to 28) and texts (0)."""
    rng = np.random.default_rng(seed)
    sources = Mixture(weights).sources(0, groups * rows_per_pool)
    counts = np.bincount(sources, minlength=3).tolist()
    slots = [
        rng.integers(21, 28, counts[0]),
        np.minimum(rng.lognormal(2.2, 0.5, counts[1]).astype(int), 28),
        np.zeros(counts[2], int),
    ]
    return slots, sources


@hypothesis.given(
    st.integers(0, 1000),
    st.integers(1, 20),
    st.integers(1, 9),
    st.sampled_from([(45, 45, 10), (1, 0, 0), (0, 5, 2), (9, 1, 1)]),
)
@hypothesis.settings(max_examples=100, deadline=None)
def test_each_row_of_a_source_stands_at_one_position_of_that_source(
    seed, groups, rows_per_pool, weights
):
    slots, sources = random_block(seed, groups, rows_per_pool, weights)
    dealt = dealing.deal(slots, sources, rows_per_pool)
    loads = np.zeros(len(sources), int)
    for source, own in enumerate(slots):
        places = sources == source
        assert sorted(dealt.rows[places]) == list(range(len(own)))
        loads[places] = own[dealt.rows[places]]
    assert dealt.loads.tolist() == loads.reshape(groups, -1).sum(axis=1).tolist()


def test_groups_of_a_block_are_balanced():
    for seed in range(5):
        dealt = dealing.deal(*random_block(seed, 128, 16), 16)
        assert dealt.loads.max() - dealt.loads.mean() < 4


def test_one_strange_row_does_not_spoil_the_balance():
    """The source with the widest range needn't be the one that can balance."""
    slots, sources = random_block(1, 128, 16)
    slots[0][:3] = 1
    slots[1] = np.minimum(slots[1], 25)
    dealt = dealing.deal(slots, sources, 16)
    assert dealt.loads.max() - dealt.loads.mean() < 4


def test_dealing_repeats_itself():
    slots, sources = random_block(2, 50, 8)
    one, other = (dealing.deal(slots, sources, 8) for _ in range(2))
    np.testing.assert_array_equal(one.rows, other.rows)


def test_rows_that_need_the_same_keep_their_order():
    _, sources = random_block(3, 20, 5)
    slots = [np.full((sources == s).sum(), cost) for s, cost in enumerate((6, 2, 0))]
    dealt = dealing.deal(slots, sources, 5)
    for source in range(3):
        assert (np.diff(dealt.rows[sources == source]) > 0).all()


def test_a_block_worked_out_by_hand():
    """Two groups of two rows of one source: 9 + 1 and 6 + 5."""
    dealt = dealing.deal([np.array([6, 9, 1, 5])], np.zeros(4, int), 2)
    assert dealt.rows.tolist() == [1, 2, 0, 3]
    assert dealt.loads.tolist() == [10, 11]

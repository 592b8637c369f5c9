"""Near duplicates: one of each group stays, whatever the order."""

import itertools
import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines.prepare import minhash, near, picture_hash


def _groups(ids, edges):
    """Connected groups by repeated merging of sets."""
    groups = [{one} for one in ids]
    for pair in edges:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in touched]
        groups.append(set().union(*touched))
    return groups


_EDGES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=20)


@given(_EDGES, st.randoms(use_true_random=False))
def test_all_but_the_smallest_of_each_group_go_in_any_order(edges, rng):
    expected = set()
    for group in _groups(range(13), edges):
        expected |= group - {min(group)}
    assert near.components(edges) == expected
    shuffled = [pair[:: rng.choice((1, -1))] for pair in edges]
    rng.shuffle(shuffled)
    assert near.components(shuffled) == expected


def test_long_chains_are_one_group():
    edges = [(number, number + 1) for number in range(50_000)]
    random.Random(0).shuffle(edges)
    assert near.components(edges) == set(range(1, 50_001))


@given(st.lists(st.lists(st.integers(0, 1), min_size=8, max_size=8), max_size=12))
def test_edges_connect_what_all_near_pairs_connect(rows):
    """Signatures of eight blocks of 16 places; near: at least 6 blocks agree."""
    group = [
        (b"%03d" % i, np.repeat(np.array(row, np.uint32), 16))
        for i, row in enumerate(rows)
    ]
    pairs = [
        (a, b)
        for (a, one), (b, other) in itertools.combinations(group, 2)
        if (one == other).mean() >= 0.75
    ]
    edges = near.text_edges(group)
    assert near.components(edges) == near.components(pairs)
    assert all(low < high for low, high in edges)
    assert set(edges) <= set(pairs)
    assert near.text_edges(group[::-1]) == edges
    assert near.text_edges(group + group) == edges


def test_groups_of_one_or_of_different_texts_have_no_edges():
    assert near.text_edges([]) == []
    assert near.text_edges([(1, minhash.signature("a b c d e f"))]) == []
    texts = ("one two three four five six", "six five four three two one")
    assert near.text_edges([(t, minhash.signature(t)) for t in texts]) == []


def test_picture_edges_join_hashes_within_the_distance():
    group = [(3, 0b0), (2, 0b1111), (1, 0b11111 << 8)]
    assert near.picture_edges(group, 4) == [(2, 3)]
    assert near.picture_edges(group, 3) == []
    assert near.components(near.picture_edges(group, 5)) == {2, 3}
    assert picture_hash.distances(2**63, np.array([2**63 + 1], np.uint64)) == [1]


def test_many_copies_are_joined_without_comparing_all_pairs():
    signed = minhash.signature("the same words in each of very many documents")
    edges = near.text_edges([(number, signed) for number in range(20_000)])
    assert near.components(edges) == set(range(1, 20_000))


def test_changed_copies_of_real_pages_go_and_the_pages_stay(real_data):
    listed = (real_data / "text" / "tinyshakespeare.txt").read_text().split()
    pages = [" ".join(listed[i : i + 200]) for i in range(0, 20_000, 200)]
    texts = {2 * i: page for i, page in enumerate(pages)}
    texts |= {2 * i + 1: f"Read on! {page}" for i, page in enumerate(pages)}
    by_key = {}
    for number, text in texts.items():
        signed = minhash.signature(text)
        for key in minhash.bands(signed):
            by_key.setdefault(key, []).append((number, signed))
    edges = [edge for group in by_key.values() for edge in near.text_edges(group)]
    assert near.components(edges) == {2 * i + 1 for i in range(len(pages))}

"""Tests of windows: every chunk in one row, and sizes known without packing in full."""

import hypothesis
import numpy as np
import plan_samples
from hypothesis import strategies as st

from data_pipelines import chunks, index_columns, totals, windows
from data_pipelines.chunks import Layout
from data_pipelines.index_columns import POSITIONS, SLOTS, STATS

LAYOUT = Layout(row_tokens=64, max_images=6, window=32, seed=3)


@hypothesis.given(st.integers(0, 2**32), st.integers(1, 100), st.integers(2, 12))
@hypothesis.settings(max_examples=40, deadline=None)
def test_measuring_windows_agrees_with_packing_each(seed, count, images):
    documents = totals.complete(plan_samples.sample(100, 30, 2, seed))
    layout = LAYOUT._replace(max_images=images)
    numbers = np.random.default_rng(seed).permutation(100)[:count]
    sizes = windows.measure(documents, numbers, layout)
    parts = [numbers[k : k + layout.window] for k in range(0, count, layout.window)]
    assert len(sizes) == len(parts)
    for part, size in zip(parts, sizes):
        packed = windows.pack(documents, part, layout, "k")
        assert size.rows == len(packed.row_start) - 1
        assert size.stats.tolist() == packed.before[-1].tolist()


@hypothesis.given(st.integers(0, 2**32), st.integers(1, 60))
@hypothesis.settings(max_examples=40, deadline=None)
def test_each_position_of_a_window_is_in_one_row_within_its_limits(seed, count):
    documents = totals.complete(plan_samples.sample(100, 30, 2, seed))
    numbers = np.random.default_rng(seed).permutation(100)[:count]
    packed = windows.pack(documents, numbers, LAYOUT, "k")
    seen = {int(number): [] for number in numbers}
    for place in range(len(packed.row_start) - 1):
        row = packed.row(place)
        assert row.chunks
        assert row.positions <= LAYOUT.row_tokens
        assert row.slots <= LAYOUT.max_images
        sums = packed.before[place + 1] - packed.before[place]
        assert (row.positions, row.slots) == (sums[POSITIONS], sums[SLOTS])
        assert sums[STATS.index("documents")] == sum(not c.start for c in row.chunks)
        for chunk in row.chunks:
            seen[chunk.document] += range(chunk.start, chunk.stop)
    lengths = documents.totals["positions"]
    for number, positions in seen.items():
        assert sorted(positions) == list(range(lengths[number]))


def test_the_key_orders_rows_and_changes_nothing_else():
    documents = totals.complete(plan_samples.sample(100, 30, 2))
    one, other = (windows.pack(documents, np.arange(100), LAYOUT, k) for k in "ab")
    rows, others = (
        [w.row(i) for i in range(len(w.row_start) - 1)] for w in (one, other)
    )
    assert rows != others
    assert sorted(rows) == sorted(others)


@hypothesis.given(st.integers(0, 2**32), st.integers(2, 12))
@hypothesis.settings(max_examples=40, deadline=None)
def test_the_table_of_a_window_is_that_of_cutting_all_its_documents(seed, images):
    documents = totals.complete(plan_samples.sample(60, 40, 2, seed))
    layout = LAYOUT._replace(max_images=images)
    numbers = np.random.default_rng(seed).permutation(60)
    table = windows.pack(documents, numbers, layout, "k").table
    whole = chunks.chunk(index_columns.take(documents, numbers), layout)
    for found, expected in zip(table, whole):
        np.testing.assert_array_equal(found, expected)

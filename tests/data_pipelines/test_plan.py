"""Tests of the pack plan of a source: every document once an epoch, exact sums."""

import collections
import pickle

import hypothesis
import numpy as np
import plan_samples
import pytest
from hypothesis import strategies as st

from data_pipelines import plan
from data_pipelines.index_columns import STATS
from data_pipelines.plan import Layout, SourcePlan
from mmjax.config import Config

LAYOUT = Layout(row_tokens=64, max_images=6, window=32, seed=3)


def make(documents=None, layout=LAYOUT, name="mixed", **options) -> SourcePlan:
    """A plan of 200 documents, some of them longer than a row."""
    if documents is None:
        documents = plan_samples.sample(200, 30, 2)
    return SourcePlan(name, documents, layout, **options)


def rows_of(source: SourcePlan, epoch: int):
    first = sum(source.rows(e) for e in range(epoch))
    return [source.row(k) for k in range(first, first + source.rows(epoch))]


def lengths(documents) -> np.ndarray:
    sums = np.concatenate([[0], np.cumsum(documents.segment_tokens)])
    return np.diff(sums[documents.segment_start]) + 1


@hypothesis.given(
    st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 40), st.integers(2, 12)
)
@hypothesis.settings(max_examples=25, deadline=None)
def test_every_position_is_in_exactly_one_chunk_of_each_epoch(
    seed, count, window, images
):
    documents = plan_samples.sample(count, 30, 2, seed)
    source = make(documents, Layout(40, images, window, seed))
    for epoch in range(2):
        parts = collections.defaultdict(list)
        for row in rows_of(source, epoch):
            for document, start, stop in row.chunks:
                parts[document] += range(start, stop)
        expected = {d: list(range(n)) for d, n in enumerate(lengths(documents))}
        assert {d: sorted(positions) for d, positions in parts.items()} == expected


def test_rows_keep_their_limits_and_are_nearly_full():
    source = make(plan_samples.sample(4000, 30, 1))
    rows = rows_of(source, 0)
    assert all(row.chunks for row in rows)
    assert max(row.positions for row in rows) <= LAYOUT.row_tokens
    assert max(row.slots for row in rows) <= LAYOUT.max_images
    for row in rows:
        assert row.positions == sum(c.stop - c.start for c in row.chunks)
    assert np.mean([row.positions for row in rows]) > 0.9 * LAYOUT.row_tokens


def test_every_epoch_is_another_permutation_of_the_same_documents():
    documents = plan_samples.sample(500, 10, 1)
    source = make(documents)
    orders = []
    for epoch in range(3):
        rows = rows_of(source, epoch)
        orders.append([chunk.document for row in rows for chunk in row.chunks])
    assert all(sorted(set(order)) == list(range(500)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    # A shuffle of the whole source: no window of the epoch is a window of the corpus.
    assert np.ptp(orders[0][:40]) > 400


def test_rows_follow_from_seed_name_and_layout_alone():
    one, same = make(), make()
    assert one.digest == same.digest
    same.row(170)  # in another order
    assert [one.row(k) for k in range(200)] == [same.row(k) for k in range(200)]
    for other in (make(layout=LAYOUT._replace(seed=4)), make(name="other")):
        assert other.digest != one.digest
        assert [other.row(k) for k in range(9)] != [one.row(k) for k in range(9)]


def test_the_order_of_a_known_seed_never_changes():
    """Saved runs resume only if the same seed gives the same rows for ever."""
    source = make(plan_samples.columns([[(False, 60, 0, True)]] * 6))
    order = [source.row(k).chunks[0].document for k in range(12)]
    assert order == [4, 3, 0, 2, 1, 5, 1, 4, 5, 0, 2, 3]


def test_epochs_follow_each_other():
    source = make()
    k = 0
    for epoch in range(4):
        for place in range(source.rows(epoch)):
            assert source.epoch_of(k + place) == (epoch, k)
        k += source.rows(epoch)
        assert source.epochs(k) == epoch + 1
    assert source.epochs(0) == 0
    assert 0 < source.epochs(1) < 0.1


def test_sums_over_any_rows_are_those_of_the_rows():
    source = make()
    stop = sum(source.rows(epoch) for epoch in range(3))
    for start, end in [(0, 0), (0, 1), (3, stop - 5), (source.rows(0), stop), (7, 90)]:
        per_row = source.row_stats(start, end)
        assert per_row.shape == (end - start, len(STATS))
        assert source.stats(start, end) == dict(zip(STATS, per_row.sum(axis=0)))
        rows = [source.row(k) for k in range(start, end)]
        stats = source.stats(start, end)
        assert stats["positions"] == sum(row.positions for row in rows)
        assert stats["slots"] == sum(row.slots for row in rows)
        first_chunks = [
            chunk for row in rows for chunk in row.chunks if not chunk.start
        ]
        assert stats["documents"] == len(first_chunks)
        assert source.row_images(start, end).tolist() == [row.slots for row in rows]


def test_an_epoch_counts_each_document_token_and_image_once():
    documents = plan_samples.sample(200, 30, 2)
    source = make(documents)
    for epoch in range(2):
        first = epoch * source.rows(0)
        stats = source.stats(first, first + source.rows(epoch))
        image, tokens = documents.segment_image, documents.segment_tokens
        assert stats["documents"] == 200
        assert stats["text_tokens"] == tokens[~image].sum()
        assert stats["image_tokens"] == tokens[image].sum()
        assert stats["images"] == image.sum()
        # All texts have loss; so has EOS, where a document has a text.
        assert stats["loss_tokens"] == tokens[~image].sum() + 200
        assert stats["positions"] == stats["text_tokens"] + stats["image_tokens"] + 200


def test_a_large_epoch_is_read_from_the_cache_and_a_damaged_one_made_again(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(plan, "CACHED_FROM", 100)
    first = make(cache_dir=tmp_path)
    rows = rows_of(first, 0)
    (file,) = tmp_path.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(SourcePlan, "_measure", None)  # reading doesn't measure
        assert rows_of(make(cache_dir=tmp_path), 0) == rows
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert rows_of(make(cache_dir=tmp_path), 0) == rows
    assert file.read_bytes() == content


def test_plans_of_other_content_or_layout_do_not_share_a_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "CACHED_FROM", 100)
    for seed in range(2):
        documents = plan_samples.sample(200, 30, 2, seed)
        for layout in (LAYOUT, LAYOUT._replace(row_tokens=80)):
            cached = make(documents, layout, cache_dir=tmp_path)
            assert rows_of(cached, 0) == rows_of(make(documents, layout), 0)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_small_epoch_leaves_no_file(tmp_path):
    make(cache_dir=tmp_path).row(0)
    assert not list(tmp_path.iterdir())


def test_a_pickled_plan_is_the_same():
    source = make()
    source.row(150)
    copy = pickle.loads(pickle.dumps(source))
    assert [copy.row(k) for k in range(200)] == [source.row(k) for k in range(200)]


def test_errors_name_the_source():
    with pytest.raises(ValueError, match="source 'mixed' has no documents"):
        make(plan_samples.columns([]))
    with pytest.raises(ValueError, match="source 'mixed', document 0: an image of 65"):
        make(plan_samples.columns([[(True, 65, 1, False)]]))


@pytest.mark.parametrize(
    ("images", "capacity", "limit"), [(0, 0, 28), (16, 0, 16), (0, 24, 24), (8, 24, 8)]
)
def test_a_row_may_use_the_slots_that_fit_it_and_its_pool(images, capacity, limit):
    config = Config()
    config.data.max_images_per_row = images
    config.data.pool_capacity = capacity
    assert plan.layout(config) == Layout(4096, limit, 2048, 0)


@pytest.mark.slow
def test_a_million_documents_are_planned_in_seconds():
    documents = plan_samples.sample(1_000_000, 24, 1, image_tokens=144)
    source = make(documents, Layout(4096, 28, 2048, 0))
    stats = source.stats(0, source.rows(0))
    assert stats["positions"] / (4096 * source.rows(0)) > 0.97

"""Tests of chunks: documents are cut without loss, images never."""

import itertools

import hypothesis
import numpy as np
import plan_samples
import pytest
from hypothesis import strategies as st

from data_pipelines import chunks, index_columns, ragged, totals
from data_pipelines.chunks import Layout
from data_pipelines.index_columns import STATS

LAYOUT = Layout(row_tokens=16, max_images=4, window=8, seed=0)

text = st.tuples(st.just(False), st.integers(0, 50), st.just(0), st.booleans())
image = st.integers(1, 14).flatmap(
    lambda tokens: st.tuples(
        st.just(True), st.just(tokens), st.integers(1, 4), st.booleans()
    )
)
documents_lists = st.lists(st.lists(text | image, max_size=8), min_size=1, max_size=4)


def stream(document):
    """(kind, counts as a target, slots, begins an image) of BOS, tokens and EOS."""
    positions = [("bos", False, 0, False)]
    end = False
    for is_image, tokens, slots, loss in document:
        if is_image:
            positions += [("image", False, slots, i == 0) for i in range(tokens)]
        else:
            positions += [("text", loss, 0, False)] * tokens
            end = loss
    return [*positions, ("eos", end, 0, False)]


def parts_of(table, document):
    """(start, stop) of the chunks of a document."""
    part = slice(*table.first[document : document + 2])
    assert (table.document[part] == document).all()
    return list(zip(table.start[part].tolist(), table.stop[part].tolist()))


@hypothesis.given(documents_lists)
@hypothesis.settings(max_examples=60, deadline=None)
def test_every_position_is_in_one_chunk_that_fits_a_row(documents):
    table = chunks.chunk(plan_samples.columns(documents), LAYOUT)
    for number, document in enumerate(documents):
        parts = parts_of(table, number)
        assert parts[0][0] == 0
        assert parts[-1][1] == len(stream(document)) - 1
        assert all(a[1] == b[0] for a, b in itertools.pairwise(parts))
        assert all(0 < stop - start <= LAYOUT.row_tokens for start, stop in parts)
    assert (table.sums[:, index_columns.SLOTS] <= LAYOUT.max_images).all()


@hypothesis.given(documents_lists)
@hypothesis.settings(max_examples=60, deadline=None)
def test_a_cut_never_falls_inside_an_image(documents):
    table = chunks.chunk(plan_samples.columns(documents), LAYOUT)
    for number, document in enumerate(documents):
        positions = stream(document)
        for start, _ in parts_of(table, number)[1:]:
            kind, _, _, begins = positions[start]
            assert kind != "image" or begins


@hypothesis.given(documents_lists)
@hypothesis.settings(max_examples=60, deadline=None)
def test_counts_of_a_chunk_are_those_of_its_positions(documents):
    table = chunks.chunk(plan_samples.columns(documents), LAYOUT)
    for row, sums in zip(range(len(table.document)), table.sums.tolist()):
        positions = stream(documents[table.document[row]])
        start, stop = table.start[row], table.stop[row]
        inputs, targets = positions[start:stop], positions[start + 1 : stop + 1]
        assert dict(zip(STATS, sums)) == {
            "documents": sum(kind == "bos" for kind, *_ in inputs),
            "text_tokens": sum(kind == "text" for kind, *_ in inputs),
            "image_tokens": sum(kind == "image" for kind, *_ in inputs),
            "loss_tokens": sum(loss for _, loss, *_ in targets),
            "images": sum(begins for *_, begins in inputs),
            "slots": sum(slots for _, _, slots, begins in inputs if begins),
            "positions": stop - start,
        }


def test_a_document_is_cut_only_where_it_must_be():
    """16 positions, 4 images: BOS, 20 text, an image of 8, 3 text."""
    documents = plan_samples.columns(
        [[(False, 20, 0, True), (True, 8, 1, False), (False, 3, 0, True)]]
    )
    table = chunks.chunk(documents, LAYOUT)
    assert parts_of(table, 0) == [(0, 16), (16, 32)]
    documents = plan_samples.columns(
        [[(False, 24, 0, True), (True, 8, 1, False), (False, 3, 0, True)]]
    )
    table = chunks.chunk(documents, LAYOUT)
    assert parts_of(table, 0) == [(0, 16), (16, 25), (25, 36)]


def test_images_without_positions_stay_with_what_follows_them():
    """An image that takes no position counts in the chunk of the next position."""
    documents = plan_samples.columns(
        [[(False, 2, 0, True), *[(True, 0, 1, False)] * 3] * 3]
    )
    table = chunks.chunk(documents, LAYOUT)
    assert parts_of(table, 0) == [(0, 5), (5, 6), (6, 7)]
    np.testing.assert_array_equal(table.sums[:, index_columns.SLOTS], [3, 3, 3])


@pytest.mark.parametrize("segment", [(True, 17, 1, False), (True, 4, 5, False)])
def test_an_image_that_fits_no_row_is_an_error_that_names_it(segment):
    documents = plan_samples.columns([[(False, 2, 0, True)], [segment]])
    tokens, slots = segment[1:3]
    words = f"document 1: an image of {tokens} positions and {slots} slots"
    with pytest.raises(ValueError, match=words):
        chunks.require_images_fit(totals.complete(documents), LAYOUT)


def test_more_images_without_positions_than_a_row_holds_are_an_error():
    documents = plan_samples.columns(
        [[(False, 2, 0, True), *[(True, 0, 1, False)] * 9]]
    )
    with pytest.raises(ValueError, match="document 7: more than 4 slots"):
        chunks.chunk(documents, LAYOUT, np.array([7]))


@hypothesis.given(documents_lists, st.data())
@hypothesis.settings(max_examples=60, deadline=None)
def test_documents_taken_apart_are_cut_as_among_the_others(documents, data):
    whole = plan_samples.columns(documents)
    order = data.draw(st.permutations(range(len(documents))))
    table = chunks.chunk(whole, LAYOUT)
    part = chunks.chunk(index_columns.take(whole, np.array(order)), LAYOUT)
    for place, number in enumerate(order):
        assert parts_of(part, place) == parts_of(table, number)
    found = totals.complete(whole).totals
    assert totals.stats(found).tolist() == table.sums.sum(axis=0).tolist()
    for name in index_columns.TOTALS.names:
        sums = np.add.reduceat(table.sums[:, STATS.index(name)], table.first[:-1])
        assert found[name].tolist() == sums.tolist()


def test_a_large_source_is_cut_in_a_moment():
    documents = plan_samples.sample(50_000, 10, 2)
    table = chunks.chunk(documents, Layout(64, 16, 8, 0))
    lengths = np.diff(
        ragged.sums_before(documents.segment_tokens)[documents.segment_start]
    )
    assert table.sums[:, index_columns.POSITIONS].sum() == (lengths + 1).sum()
    assert table.sums[:, STATS.index("documents")].sum() == 50_000

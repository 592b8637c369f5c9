"""Grain datasets: the same documents, rows and batches, with grain's own tools."""

import json
import pickle

import grain
import numpy as np
import pytest
import small_world

from data_pipelines import datasets, pipeline
from data_pipelines.shard_reader import ShardReader
from mmjax.batch import Share


def test_records_are_the_documents_of_a_folder(world):
    folder = f"{world.root}/captions/train"
    source, reader = datasets.records(folder), ShardReader(folder)
    assert isinstance(source, grain.sources.RandomAccessDataSource)
    expected = [reader.document(n) for n in range(len(reader))]
    assert [source[n] for n in range(len(source))] == expected
    copy = pickle.loads(pickle.dumps(source))
    order = np.random.default_rng(0).integers(0, len(source), 200).tolist()
    assert copy.__getitems__(order) == [expected[n] for n in order]
    assert copy.__getitems__(range(len(source))) == expected
    assert copy.__getitems__([]) == []
    assert folder in repr(source)
    with pytest.raises(IndexError, match="record 80 of 80"):
        source[80]


def test_neighbours_are_read_together(world, monkeypatch):
    reader = ShardReader(f"{world.root}/captions/train")
    reads = []
    whole = reader._read_range
    monkeypatch.setattr(
        reader, "_read_range", lambda *place: reads.append(place) or whole(*place)
    )
    sizes = [info["records"] for info in reader.manifest["shards"]]
    reader.read_many(list(range(len(reader)))[::-1])
    assert reads == [(shard, 0, size) for shard, size in enumerate(sizes)]


def test_records_can_be_shuffled_mapped_and_batched(world):
    source = datasets.records(f"{world.root}/captions/train")
    words = (
        grain.MapDataset.source(source)
        .shuffle(seed=1)
        .map(lambda document: document.segments[1].text)
        .to_iter_dataset(grain.ReadOptions(2, 4))
        .batch(8, batch_fn=list)
    )
    found = [text for batch in words for text in batch]
    expected = [d.segments[1].text for d in world.documents["captions/train"]]
    assert sorted(found) == sorted(expected)
    assert found != expected


def test_rows_are_those_of_the_batches(opened, reference):
    rows = datasets.rows(opened, 0, 6)
    assert len(rows) == 6 * 8
    for number in (47, 0, 13, 12, *range(20, 30)):
        step, place = divmod(number, 8)
        z, r = divmod(place, 4)
        row, batch = rows[number], reference[step]
        names = "tokens targets loss_mask segments positions sources"
        for name in names.split():
            field = getattr(batch, f"{name}_ZRT")
            np.testing.assert_array_equal(getattr(row, f"{name}_T"), field[z, r])
        # Its images are those of its slots, and its indices point to them.
        slots = batch.images_ZRT[z, r] // 4
        used = np.unique(slots[slots >= 0])
        np.testing.assert_array_equal(row.pixels_Ihwc, batch.pixels_ZChwc[z, used])
        inside = batch.images_ZRT[z, r] >= 0
        assert ((row.images_T >= 0) == inside).all()
        shift = used[0] * 4 if len(used) else 0
        np.testing.assert_array_equal(
            row.images_T[inside], batch.images_ZRT[z, r][inside] - shift
        )


def test_rows_can_be_sliced_and_filtered(opened):
    rows = datasets.rows(opened, 2, 4)
    np.testing.assert_array_equal(
        rows[3].tokens_T, datasets.rows(opened)[2 * 8 + 3].tokens_T
    )
    captions = rows.filter(lambda row: row.sources_T[0] == 0)
    assert all(row is None or row.sources_T[0] == 0 for row in captions)
    assert len(datasets.rows(opened)) == opened.steps * 8


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"threads": 1}, {"threads": 4}),
        pytest.param({"threads": 3}, {"workers": 2}, marks=pytest.mark.slow),
        pytest.param({"workers": 2}, {"workers": 1}, marks=pytest.mark.slow),
    ],
)
def test_the_state_of_batches_is_one_integer_for_any_reading(
    world, reference, before, after
):
    first = iter(datasets.batches(pipeline.open(world.config(**before)), 0, 6))
    for expected in reference[:2]:
        assert small_world.equal(next(first), expected)
    state = json.loads(json.dumps(first.get_state()))
    assert state == {"step": 2}
    first.close()
    other = iter(datasets.batches(pipeline.open(world.config(**after)), 0, 6))
    other.set_state(state)
    assert small_world.equal(next(other), reference[2])
    assert other.get_state() == {"step": 3}
    other.set_state({"step": 5})  # also back and forth
    assert small_world.equal(next(other), reference[5])
    with pytest.raises(StopIteration):
        next(other)
    other.set_state(state)
    assert all(map(small_world.equal, other, reference[2:]))
    with pytest.raises(ValueError, match="state of step 7: batches are 0 to 5"):
        other.set_state({"step": 7})
    other.close()
    with pytest.raises(ValueError, match="closed"):
        next(other)


def test_batches_go_through_grains_transformations_and_keep_their_state(
    opened, reference
):
    dataset = datasets.batches(opened, 0, 6).map(lambda batch: batch.tokens_ZRT.sum())
    sums = [batch.tokens_ZRT.sum() for batch in reference]
    iterator = iter(dataset)
    assert [next(iterator) for _ in range(3)] == sums[:3]
    state = iterator.get_state()
    assert list(iterator) == sums[3:]
    again = iter(dataset)
    again.set_state(state)
    assert list(again) == sums[3:]


def test_a_share_of_batches(opened, reference):
    share = Share((1, 2), (0, 2), (0, opened.capacity))
    (found,) = datasets.batches(opened, 4, 5, share)
    assert small_world.equal(found[:7], [array[1:2, 0:2] for array in reference[4][:7]])


def test_ranges_that_are_none_are_refused(opened):
    for make in (datasets.rows, datasets.batches):
        with pytest.raises(ValueError, match="batches 3 to 2: must"):
            make(opened, 3, 2)

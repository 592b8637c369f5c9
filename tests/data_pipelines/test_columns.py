"""Columns in files are the columns in memory, here and in another process."""

import pickle
import shutil

import hypothesis
import numpy as np
import plan_samples
import pytest
from hypothesis import strategies as st

from data_pipelines import columns, index_columns, totals
from data_pipelines.plan import Layout, SourcePlan

LAYOUT = Layout(row_tokens=64, max_images=6, window=32, seed=3)


def same(one, other) -> bool:
    names = [n for n in one._fields if n not in ("totals", "summary", "folder")]
    values = [(getattr(one, name), getattr(other, name)) for name in names]
    return all(np.array_equal(a, b) for a, b in values)


def test_stored_columns_are_mapped_and_equal(tmp_path):
    documents = plan_samples.sample(200, 30, 2)
    stored = columns.store(tmp_path / "a", documents)
    assert same(stored, documents)
    assert isinstance(stored.segment_tokens.base, np.memmap)
    np.testing.assert_array_equal(stored.totals, totals.complete(documents).totals)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_pickled_is_where_the_files_lie(tmp_path):
    stored = columns.store(tmp_path / "a", plan_samples.sample(20_000, 30, 2))
    data = pickle.dumps(stored)
    assert len(data) < 1000
    assert same(pickle.loads(data), stored)
    part = index_columns.take(stored, np.arange(5))
    assert same(pickle.loads(pickle.dumps(part)), part)


@hypothesis.given(st.lists(st.integers(0, 199), min_size=1, max_size=20))
def test_documents_taken_from_files_are_those_in_memory(tmp_path_factory, numbers):
    documents = totals.complete(plan_samples.sample(200, 30, 2))
    stored = columns.store(tmp_path_factory.mktemp("c") / "a", documents)
    expected = index_columns.take(documents, np.array(numbers))
    assert same(columns.take(documents, np.array(numbers)), expected)
    assert same(columns.take(stored, np.array(numbers)), expected)
    shutil.rmtree(stored.folder)  # what is mapped stays
    assert same(columns.take(stored, np.array(numbers)), expected)


def test_several_processes_plan_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr("data_pipelines.plan.SPREAD_FROM", 100)
    documents = plan_samples.sample(5000, 30, 2)
    stored = columns.store(tmp_path / "a", documents)
    alone = SourcePlan("s", documents, LAYOUT)
    spread = SourcePlan("s", stored, LAYOUT, processes=2)
    assert spread.digest == alone.digest
    assert spread.rows(0) == alone.rows(0)
    for k in (0, 7, alone.rows(0) - 1, alone.rows(0)):
        assert spread.row(k) == alone.row(k)
        assert (spread.sums_before(k) == alone.sums_before(k)).all()


@pytest.mark.parametrize("damage", ["remove", "shorten", "facts"])
def test_damaged_columns_are_refused(tmp_path, damage):
    columns.store(tmp_path / "a", plan_samples.sample(200, 30, 2))
    path = tmp_path / "a" / "segment_slots.npy"
    match damage:
        case "remove":
            path.unlink()
        case "shorten":
            np.save(path, np.zeros(3, np.int16))
        case "facts":
            (tmp_path / "a" / "columns.json").write_text("{")
    with pytest.raises(ValueError, match="columns"):
        columns.load(tmp_path / "a")


def test_columns_of_another_key_are_refused(tmp_path):
    columns.store(tmp_path / "a", plan_samples.sample(200, 30, 2), "key")
    assert same(columns.load(tmp_path / "a", "key"), columns.load(tmp_path / "a"))
    with pytest.raises(ValueError, match="another source"):
        columns.load(tmp_path / "a", "other")


def test_who_comes_second_uses_what_is_there(tmp_path):
    first = columns.store(tmp_path / "a", plan_samples.sample(200, 30, 2), "key")
    second = columns.store(tmp_path / "a", plan_samples.sample(200, 30, 2), "key")
    assert same(first, second)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]

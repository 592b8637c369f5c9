"""Tests of the plan cache: a file is whole and expected, or not there."""

import logging

import numpy as np
import pytest

from data_pipelines import plan_cache

ARRAYS = {"order": np.arange(5000), "row_start": np.arange(0, 5001, 10)}


def assert_same(found, expected):
    assert found is not None
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_arrays_come_back_as_they_were(tmp_path):
    path = tmp_path / "new" / "plan.npz"
    assert plan_cache.load(path, "key") is None
    plan_cache.save(path, "key", ARRAYS)
    assert_same(plan_cache.load(path, "key"), ARRAYS)
    assert [file.name for file in path.parent.iterdir()] == ["plan.npz"]


def test_a_file_of_another_key_is_not_used(tmp_path):
    path = tmp_path / "plan.npz"
    plan_cache.save(path, "key", ARRAYS)
    assert plan_cache.load(path, "another") is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_a_damaged_file_is_not_used_and_can_be_made_again(tmp_path, damage, caplog):
    path = tmp_path / "plan.npz"
    plan_cache.save(path, "key", ARRAYS)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    flipped = bytes(content)
    path.write_bytes(
        {"truncated": flipped[:-99], "flipped": flipped, "empty": b"", "text": b"no"}[
            damage
        ]
    )
    with caplog.at_level(logging.WARNING):
        assert plan_cache.load(path, "key") is None
    assert str(path) in caplog.text
    plan_cache.save(path, "key", ARRAYS)
    assert_same(plan_cache.load(path, "key"), ARRAYS)


def test_a_whole_file_whose_arrays_were_exchanged_is_not_used(tmp_path):
    path = tmp_path / "plan.npz"
    plan_cache.save(path, "key", ARRAYS)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["order"] = arrays["order"][::-1]
    with path.open("wb") as file:
        np.savez(file, **arrays)
    assert plan_cache.load(path, "key") is None


def test_a_folder_that_cannot_be_written_is_only_logged(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        plan_cache.save(tmp_path / "file" / "plan.npz", "key", ARRAYS)
    assert "not cached" in caplog.text

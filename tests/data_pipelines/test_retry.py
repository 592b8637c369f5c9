"""Reads are tried again where storage fails, and only there."""

import pytest

from data_pipelines import retry, shards
from data_pipelines.records import Document, Text
from data_pipelines.shard_reader import ShardReader


def failing(times, error):
    """A function that fails so often; the list counts its calls."""
    calls = []

    def function():
        calls.append(1)
        if len(calls) <= times:
            raise error
        return "value"

    return function, calls


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_storage_that_recovers_is_waited_for(times):
    function, calls = failing(times, OSError("stale"))
    slept = []
    assert retry.on_os_error(function, slept.append) == "value"
    assert slept == list(retry.WAITS[:times])
    assert len(calls) == times + 1


def test_after_three_more_attempts_it_is_an_error():
    function, calls = failing(9, OSError("stale"))
    with pytest.raises(OSError, match="stale"):
        retry.on_os_error(function, lambda seconds: None)
    assert len(calls) == 4


def test_other_errors_are_not_tried_again():
    function, calls = failing(9, ValueError("corrupt"))
    with pytest.raises(ValueError, match="corrupt"):
        retry.on_os_error(function, lambda seconds: None)
    assert len(calls) == 1


def test_a_shard_that_comes_back_is_read(tmp_path):
    """The file is away at the first attempts, as on a mount that drops out."""
    shards.write(tmp_path, [Document((Text(str(i)),)) for i in range(9)], 1)
    path = tmp_path / shards.shard_name(0, 1)
    away = path.rename(tmp_path / "away")
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            away.rename(path)

    away.rename(path)
    reader = ShardReader(tmp_path, sleep=sleep)
    path.rename(away)
    assert reader.document(4).segments[0].text in "012345678"
    assert slept == [0.5, 2.0]
    path.rename(away)
    gone = ShardReader.__new__(ShardReader)
    gone.__setstate__({**reader.__getstate__(), "_sleep": lambda seconds: None})
    with pytest.raises(ValueError, match=r"record 4 can't be read: .*No such file"):
        gone.document(4)

"""Which checkpoints are evaluated."""

import pytest

from mmjax import checkpoint, config
from mmjax.evaluate import following
from mmjax.evaluation import results


def made(folder, step: int, steps: int = 30):
    (folder / "checkpoints" / str(step) / "params").mkdir(parents=True)


@pytest.fixture
def metas(monkeypatch):
    """Meta of a run of 30 steps, as its checkpoints have it."""
    meta = {"config": config.to_dict(config.Config(steps=30))}
    monkeypatch.setattr(checkpoint, "look", lambda path: checkpoint.Weights({}, meta))


def test_the_newest_is_taken_or_the_one_that_is_named(tmp_path):
    for step in (2, 10):
        made(tmp_path, step)
    (tmp_path / "checkpoints" / "11.orbax-checkpoint-tmp" / "params").mkdir(
        parents=True
    )
    newest = str(tmp_path / "checkpoints" / "10")
    for place in (tmp_path, tmp_path / "checkpoints"):
        assert list(following.checkpoints(str(place), False, 1)) == [newest]
    named = str(tmp_path / "checkpoints" / "2")
    assert list(following.checkpoints(named, False, 1)) == [named]
    assert results.folder_of(tmp_path, named) == tmp_path / "step_2"


def test_all_are_followed_until_the_last_step(tmp_path, metas):
    made(tmp_path, 10)
    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            made(tmp_path, 20)
            made(tmp_path, 30)

    found = following.checkpoints(str(tmp_path), True, 5, sleep)
    assert [path.rpartition("/")[2] for path in found] == ["10", "20", "30"]
    assert naps == [5, 5, 5]


def test_nothing_to_evaluate_is_told(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        next(following.checkpoints(str(tmp_path / "a"), False, 1))
    with pytest.raises(ValueError, match="holds no complete checkpoint"):
        next(following.checkpoints(str(tmp_path), False, 1))

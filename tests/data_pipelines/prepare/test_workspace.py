"""An unfinished preparation is continued, or it is left alone."""

import pathlib

import pytest
import raw_corpora

from data_pipelines.prepare import workspace

FACTS = {"input": ["a", 1], "tokenizer": ["", 320]}


class _Killed(BaseException):
    pass


def _work(output, facts=FACTS, stop=False):
    with workspace.unfinished(output, facts) as space:
        before = sorted(path.name for path in space.parts.iterdir())
        (space.parts / f"part {len(before)}").write_text("done")
        (space.result / "shard").write_text("written")
        if stop:
            raise _Killed
    return before


def test_the_result_takes_its_name_and_nothing_else_is_left(tmp_path):
    assert _work(tmp_path / "out") == []
    assert raw_corpora.digests(tmp_path / "out").keys() == {"shard"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_what_a_killed_preparation_has_done_is_kept(tmp_path):
    for number in range(2):
        with pytest.raises(_Killed):
            _work(tmp_path / "out", stop=True)
        assert not (tmp_path / "out").exists()
        assert (
            len(list((tmp_path / "out.unfinished" / "parts").iterdir())) == number + 1
        )
    assert _work(tmp_path / "out") == ["part 0", "part 1"]


def test_one_that_has_done_nothing_leaves_nothing(tmp_path):
    with (
        pytest.raises(_Killed),
        workspace.unfinished(tmp_path / "out", FACTS),
    ):
        raise _Killed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changed", [["input"], ["tokenizer"], ["input", "tokenizer"]])
def test_other_facts_are_refused_by_name_and_nothing_is_touched(tmp_path, changed):
    with pytest.raises(_Killed):
        _work(tmp_path / "out", stop=True)
    before = raw_corpora.digests(tmp_path)
    other = FACTS | dict.fromkeys(changed, "other")
    with pytest.raises(ValueError, match=f"with other {' and '.join(changed)};"):
        _work(tmp_path / "out", other)
    assert raw_corpora.digests(tmp_path) == before


def test_a_damaged_note_is_told(tmp_path):
    with pytest.raises(_Killed):
        _work(tmp_path / "out", stop=True)
    (tmp_path / "out.unfinished" / "preparation.json").write_text("{")
    with pytest.raises(
        ValueError, match=r"preparation.json: damaged; remove .*out.unf"
    ):
        _work(tmp_path / "out")


def test_what_is_somebody_elses_is_left_alone(tmp_path):
    left = tmp_path / "out.unfinished"
    left.mkdir()
    (left / "precious").write_text("mine")
    with pytest.raises(ValueError, match=r"out.unfinished: in the way, and not ours"):
        _work(tmp_path / "out")
    assert [path.name for path in left.iterdir()] == ["precious"]


def test_an_existing_output_is_refused_but_an_empty_folder_is_used(tmp_path):
    (tmp_path / "out").mkdir()
    _work(tmp_path / "out")
    before = raw_corpora.digests(tmp_path)
    with pytest.raises(ValueError, match=r"out: exists already; name a new folder"):
        _work(tmp_path / "out")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=r"file: exists already"):
        _work(tmp_path / "file")
    (tmp_path / "file").unlink()
    assert raw_corpora.digests(tmp_path) == before


def test_two_at_once_are_refused(tmp_path):
    output = tmp_path / "out"
    with workspace.unfinished(output, FACTS) as space:
        (space.parts / "one").touch()
        with pytest.raises(ValueError, match="another preparation is writing it"):
            _work(output)
        assert (space.parts / "one").exists()
    assert output.is_dir()


def test_killed_before_anything_was_noted_begins_anew(tmp_path):
    left = tmp_path / "out.unfinished"
    left.mkdir()
    (left / ".lock").touch()
    (left / "preparation.json.part").write_text('{"inp')
    _work(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_killed_behind_the_renaming_leaves_a_whole_output(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace.shutil, "rmtree", lambda *_, **__: None)
    _work(tmp_path / "out")
    monkeypatch.undo()
    assert (tmp_path / "out.unfinished").exists()
    before = raw_corpora.digests(tmp_path / "out")
    with pytest.raises(ValueError, match="exists already"):
        _work(tmp_path / "out")
    assert raw_corpora.digests(tmp_path / "out") == before
    assert not (tmp_path / "out.unfinished").exists()


@pytest.mark.parametrize("kind", ["a file in the way", "read only"])
def test_where_nothing_can_be_written_it_is_told(tmp_path, monkeypatch, kind):
    (tmp_path / "file").write_text("mine")
    output = tmp_path / "file" / "out"
    if kind == "read only":
        output = tmp_path / "out"
        refuse = OSError(30, "Read-only file system")

        def mkdir(*_, **__):
            raise refuse

        monkeypatch.setattr(pathlib.Path, "mkdir", mkdir)
    with pytest.raises(ValueError, match=r"--output=.*out: can't be written \(.+\)"):
        _work(output)
    monkeypatch.undo()
    assert raw_corpora.digests(tmp_path).keys() == {"file"}

"""Progress: a bar on a terminal, two lines elsewhere."""

import io
import re

import pytest

from data_pipelines.prepare import progress


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def folders(tmp_path):
    for name in ("parts", "shards"):
        (tmp_path / name).mkdir()
    (tmp_path / "parts" / "a.facts.json").write_text("done")
    return tmp_path / "parts", [tmp_path / "shards", tmp_path / "to come"]


def _work(folder, growing):
    (growing[0] / "shard.part").write_bytes(bytes(3 * 2**20))
    (folder / "b.facts.json").write_text("done")
    (folder / "b.traits").write_text("no part on its own")


def test_elsewhere_there_is_a_line_at_the_start_and_one_at_the_end(folders, capfd):
    said = []
    parts, growing = folders
    with progress.of_files(parts, "facts.json", 5, "reading", growing, said.append):
        assert said == ["reading: 1 of 5 parts are done"]
        _work(parts, growing)
    assert said[1:] == ["reading: 2 of 5 parts, 3.0 MiB"]
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_a_bar_moves_with_files_that_are_not_whole(folders, monkeypatch):
    parts, growing = folders
    terminal, said = _Terminal(), []
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    monkeypatch.setattr(progress, "_EVERY", 0.01)
    looked = progress.threading.Event()
    size = progress.size

    def look(folder):
        looked.set()
        return size(folder)

    with progress.of_files(parts, "facts.json", 5, "reading", growing, said.append):
        (growing[0] / "shard.part").write_bytes(bytes(2 * 2**20))
        monkeypatch.setattr(progress, "size", look)
        assert looked.wait(20)
        _work(parts, growing)
    shown = terminal.getvalue()
    assert re.search(r"reading:\s+40%.*2/5.*3\.0 MiB", shown)
    assert not said


def test_the_lines_are_told_also_where_the_work_fails(folders):
    said = []
    parts, growing = folders

    def fail():
        with progress.of_files(parts, "facts.json", 5, "reading", growing, said.append):
            _work(parts, growing)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert said[-1] == "reading: 2 of 5 parts, 3.0 MiB"


def test_a_folder_that_is_to_come_holds_nothing(tmp_path):
    assert progress.size(tmp_path / "to come") == 0

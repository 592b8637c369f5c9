"""The journal: what was answered stays, whatever byte the process died at."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.endpoint import answers
from data_pipelines.endpoint.answers import Journal
from data_pipelines.endpoint.chat import Answer

KEYS = [bytes([n]) * 16 for n in range(4)]
SAID = [Answer(f"caption {n}\nof two lines, caf\u00e9", 10 * n, n) for n in range(4)]


def _written(path, count=4):
    with Journal(path) as journal:
        for key, answer in zip(KEYS[:count], SAID):
            journal.add(key, answer)
    return path.read_bytes()


def test_answers_are_there_again(tmp_path):
    _written(tmp_path / "j")
    with Journal(tmp_path / "j") as journal:
        assert len(journal) == 4
        assert [journal.get(key) for key in KEYS] == [answer.text for answer in SAID]
        assert journal.get(b"x" * 16) == ""
        assert b"x" * 16 not in journal
        assert journal.tokens == [60, 6]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_torn_end_is_cut_off_and_what_stood_before_it_stays(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("torn") / "j"
    whole = _written(path)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    lines = whole[:cut].count(b"\n")
    with Journal(path) as journal:
        assert [key in journal for key in KEYS] == [n < lines for n in range(4)]
        for key, answer in list(zip(KEYS, SAID))[lines:]:
            journal.add(key, answer)
        assert [journal.get(key) for key in KEYS] == [answer.text for answer in SAID]
    assert path.read_bytes() == whole


def test_an_answer_is_on_disk_before_it_counts(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.add(KEYS[0], SAID[0])
        (line,) = (tmp_path / "j").read_text().splitlines()
        assert json.loads(line)["text"] == SAID[0].text


def test_one_process_at_a_time(tmp_path):
    says = pytest.raises(ValueError, match="j: another process is at it")
    with Journal(tmp_path / "j"), says:
        Journal(tmp_path / "j")
    with Journal(tmp_path / "j"):
        pass


def test_a_line_that_is_no_answer_is_named(tmp_path):
    whole = _written(tmp_path / "j").splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join([whole[0], b"{}\n", whole[1]]))
    with pytest.raises(ValueError, match="j: line 2 is no answer"):
        Journal(tmp_path / "j")
    with pytest.raises(ValueError, match="can't be written"):
        Journal(tmp_path / "no" / "folder")


def test_another_model_or_prompt_has_another_journal():
    names = {
        answers.name(*facts)
        for facts in [
            ("c", "m", "p"),
            ("c", "m", "q"),
            ("c", "n", "p"),
            ("d", "m", "p"),
        ]
    }
    assert len(names) == 4
    assert answers.name("c", "m", "p") == answers.name("c", "m", "p")

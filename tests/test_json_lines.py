"""Files of records that are gone on with."""

import pytest

from mmjax import json_lines


def test_what_is_appended_is_read_and_half_a_line_is_removed(tmp_path):
    path = tmp_path / "a.jsonl"
    assert json_lines.read(path, "answer") == {}
    json_lines.append(path, [{"id": "1", "text": "\u00e4\n"}])
    json_lines.append(path, [{"id": "2"}, {"id": "3"}])
    whole = path.read_bytes()
    for size in range(len(whole) - 1, len(whole) - 12, -1):
        path.write_bytes(whole[:size])
        held = json_lines.read(path, "answer")
        assert list(held) == ["1", "2"]
        assert held["1"] == {"id": "1", "text": "\u00e4\n"}
        json_lines.append(path, [{"id": "3"}])
        assert path.read_bytes() == whole


@pytest.mark.parametrize("line", ["{", "[]", "1", "{}"])
def test_a_file_of_something_else_is_named_with_its_line(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: no answer"):
        json_lines.read(path, "answer")

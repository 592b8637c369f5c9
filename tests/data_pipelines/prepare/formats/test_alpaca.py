"""Alpaca rows, with the columns that LLaMA-Factory adds."""

import format_files
import pytest

ROW = {"instruction": "Add.", "input": "1 2", "output": "3"}


def _read(tmp_path, record):
    path = format_files.as_array(tmp_path / "a.json", [record])
    return format_files.read(path, "alpaca")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ["USER: Add.\n1 2\nASSISTANT:", " 3"]),
        ({"input": ""}, ["USER: Add.\nASSISTANT:", " 3"]),
        ({"input": None}, ["USER: Add.\nASSISTANT:", " 3"]),
        ({"system": "S"}, ["S\nUSER: Add.\n1 2\nASSISTANT:", " 3"]),
        ({"history": [["Hi", "Ho"]]},
         ["USER: Hi\nASSISTANT:", " Ho", "\nUSER: Add.\n1 2\nASSISTANT:", " 3"]),
        ({"images": ["a.jpg"]}, ["USER:", "<a.jpg>", "\nAdd.\n1 2\nASSISTANT:", " 3"]),
        ({"images": ["a.jpg"], "input": "<image>!"},
         ["USER: Add.\n", "<a.jpg>", "!\nASSISTANT:", " 3"]),
    ],
)  # fmt: skip
def test_variants_of_a_row(tmp_path, more, expected):
    (raw,), rejects = _read(tmp_path, ROW | more)
    assert format_files.shown(raw.documents[0]) == expected
    assert [p.loss for p in raw.documents[0] if hasattr(p, "loss")][-1]
    assert not rejects


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"output": ""}, "empty_text"),
        ({"output": 3}, "missing_field"),
        ({"history": ["Hi"]}, "missing_field"),
        ({"history": "Hi"}, "missing_field"),
        ({"input": "<image>"}, "too_many_tags"),
        ({"videos": ["v.mp4"]}, "unsupported_media"),
    ],
)
def test_what_cant_be_read_faithfully_is_left_out(tmp_path, more, reason):
    raws, rejects = _read(tmp_path, ROW | more)
    assert not raws
    assert format_files.reasons(rejects) == [(1, reason, "record")]

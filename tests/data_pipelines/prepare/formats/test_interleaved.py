"""Interleaved documents keep their order, and lose no more than what is bad."""

import base64
import json

import format_files
import pytest

from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.raw import Picture


def _read(tmp_path, record, settings=None):
    path = format_files.as_lines(tmp_path / "a.jsonl", [record])
    raws, rejects = format_files.read(path, "interleaved", settings)
    shown = [format_files.shown(raw.documents[0]) for raw in raws]
    return shown, format_files.reasons(rejects)


def test_a_document_keeps_reading_order(tmp_path):
    record = {
        "texts": ["one", None, "two", "three", " ", None],
        "images": [None, {"file": "1.jpg", "alt": "x"}, None, None, None, "2.jpg"],
    }
    shown, rejects = _read(tmp_path, record)
    assert shown == [["one", "<1.jpg>", "two\n\nthree", "<2.jpg>"]]
    assert not rejects


def test_pictures_may_be_inside_of_the_file(tmp_path):
    data = base64.b64encode(b"jpeg").decode()
    record = {"texts": ["a", None], "images": [None, {"bytes": data, "path": None}]}
    path = format_files.as_array(tmp_path / "a.json", [record])
    (raw,), _ = format_files.read(path, "interleaved")
    assert raw.documents[0][1] == Picture(data=b"jpeg")


def test_obelics_as_lines_of_json(tmp_path):
    record = {
        "images": ["https://i/1.jpg", None, "2.jpg"],
        "texts": [None, "paragraph", None],
        "metadata": json.dumps([{"src": "https://s/1"}, None, {"src": "https://s/2"}]),
        "general_metadata": json.dumps({"url": "https://page", "warc": 7}),
    }
    path = format_files.as_lines(tmp_path / "a.jsonl", [record])
    (raw,), _ = format_files.read(path, "interleaved")
    first, _, last = raw.documents[0]
    assert first == Picture(url="https://i/1.jpg")
    assert last == Picture(path="2.jpg", url="https://s/2")
    assert raw.url == "https://page"
    assert raw.meta["general_metadata"] == {"url": "https://page", "warc": 7}
    assert raw.meta["metadata"][0] == {"src": "https://s/1"}


def test_a_picture_that_is_not_named_is_lost_alone(tmp_path):
    record = {"texts": ["one", None, "two"], "images": [None, {"alt": "x"}, None]}
    assert _read(tmp_path, record) == (
        [["one\n\ntwo"]], [(1, "missing_field", "image")]
    )  # fmt: skip
    drop = Settings(missing_image="drop")
    assert _read(tmp_path, record, drop) == ([], [(1, "missing_field", "record")])
    with pytest.raises(ValueError, match=r"record 1: missing_field: position 1"):
        _read(tmp_path, record, Settings(missing_image="error"))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"texts": ["a"]}, "missing_field"),
        ({"texts": ["a"], "images": []}, "misaligned"),
        ({"texts": ["a"], "images": ["1.jpg"]}, "misaligned"),
        ({"texts": [None], "images": [None]}, "misaligned"),
        ({"texts": [3], "images": [None]}, "misaligned"),
        ({"texts": [None], "images": ["1.jpg"]}, "empty_text"),
        ({"texts": ["a\ud800"], "images": [None]}, "not_utf8"),
    ],
)
def test_what_is_bad_is_left_out(tmp_path, record, reason):
    assert _read(tmp_path, record) == ([], [(1, reason, "record")])


def test_real_tutorials_keep_all_they_hold(real_data):
    path = real_data / "interleaved" / "docs.jsonl"
    whole = format_files.found(path, "interleaved")
    with path.open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    assert len(whole) == len(records) == 183
    for raw, record in zip(whole, records):
        (document,) = raw.documents
        names = [image["file"] for image in record["images"] if image]
        assert [p.path for p in document if isinstance(p, Picture)] == names
        texts = [p.text for p in document if not isinstance(p, Picture)]
        said = "".join(text for text in record["texts"] if text and text.strip())
        assert "".join(texts).replace("\n", "") == said.replace("\n", "")
        assert raw.licence == record["licence"]
        assert raw.scores["repo"] == record["repo"]
    assert format_files.divided(path, "interleaved", 20_000) == whole

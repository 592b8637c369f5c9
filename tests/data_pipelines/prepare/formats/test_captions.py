"""A record of captions is a picture, and a document for each of its captions."""

import gzip
import json

import format_files
import pytest
import zstandard

from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.raw import Picture
from data_pipelines.records import Text

DOG = {"image": "dog.jpg", "captions": ["A dog.", " A brown dog.\n"]}
FIRST = (Picture(path="dog.jpg"), Text("A dog."))
SECOND = (Picture(path="dog.jpg"), Text("A brown dog."))


@pytest.mark.parametrize(
    "record",
    [
        {"image": "dog.jpg", "caption": "A dog."},
        {"image": "dog.jpg", "caption": ["A dog."]},  # LAVIS
        {"image": {"path": "dog.jpg"}, "captions": ["A dog."]},
        {"id": 3, "image_name": "dog.jpg", "caption": "A dog."},
        {"file_name": "dog.jpg", "text": "A dog."},  # metadata.jsonl of a folder
        {"filepath": "dog.jpg", "title": "A dog."},
    ],
)
@pytest.mark.parametrize("write", [format_files.as_lines, format_files.as_array])
def test_every_spelling_of_a_caption(tmp_path, record, write):
    path = write(tmp_path / "a.json", [record, record])
    raws, rejects = format_files.read(path, "captions")
    assert [raw.documents for raw in raws] == [(FIRST,), (FIRST,)]
    assert [raw.number for raw in raws] == [1, 2]
    assert {raw.folder for raw in raws} == {"pictures"}
    assert not rejects


def test_captions_of_a_picture_stay_together_with_all_else_that_is_known(tmp_path):
    more = {"licence": "CC", "url": "u", "width": 7, "tags": ["a"], "split": "val"}
    path = format_files.as_lines(tmp_path / "a.jsonl", [DOG | more])
    ((raw,), rejects) = format_files.read(path, "captions")
    assert raw.documents == (FIRST, SECOND)
    assert (raw.licence, raw.url) == ("CC", "u")
    assert raw.scores == {"width": 7, "split": "val"}
    assert raw.meta == {"width": 7, "tags": ["a"], "split": "val"}
    assert not rejects


def test_columns_may_be_named(tmp_path):
    record = {"img": "dog.jpg", "image": "other.jpg", "alt": "A dog.", "caption": "no"}
    path = format_files.as_lines(tmp_path / "a.jsonl", [record])
    settings = Settings(image_key="img", text_key="alt")
    ((raw,), _) = format_files.read(path, "captions", settings)
    assert raw.documents == (FIRST,)


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.jsonl.gz", gzip.compress), ("a.json.zst", zstandard.compress)],
)
def test_compressed_lines_are_lines(tmp_path, name, pack):
    path = tmp_path / name
    path.write_bytes(pack(b"\n" + json.dumps(DOG).encode() + b"\n{"))
    raws, rejects = format_files.read(path, "captions")
    assert [(raw.number, raw.documents) for raw in raws] == [(2, (FIRST, SECOND))]
    assert format_files.reasons(rejects) == [(3, "malformed_json", "record")]


CAPTION = {"image": "1.jpg", "caption": "c"}
BAD = [
    (b"{not json", "malformed_json"),
    (b"[1]", "malformed_json"),
    (b'{"a":' * 100_000, "malformed_json"),
    (b'{"image": "\xff"}', "not_utf8"),
    (CAPTION | {"caption": "\ud800"}, "not_utf8"),
    (CAPTION | {"image": "\ud800"}, "not_utf8"),
    ({"image": "1.jpg"}, "missing_field"),
    ({"caption": "c"}, "missing_field"),
    (CAPTION | {"image": None}, "missing_field"),
    (CAPTION | {"caption": 3}, "missing_field"),
    (CAPTION | {"captions": []}, "missing_field"),
]


@pytest.mark.parametrize(("record", "reason"), BAD)
def test_what_is_bad_is_left_out_with_a_reason(tmp_path, record, reason):
    path = format_files.as_lines(tmp_path / "a.jsonl", [DOG, record, b"", DOG])
    raws, rejects = format_files.read(path, "captions")
    assert [raw.number for raw in raws] == [1, 4]
    assert format_files.reasons(rejects) == [(2, reason, "record")]
    assert rejects[0].detail
    json.dumps(rejects[0]._asdict()).encode("utf-8")


@pytest.mark.parametrize("empty", [" \n", "", None, 3])
def test_one_empty_caption_among_good_ones_loses_only_itself(tmp_path, empty):
    record = DOG | {"captions": ["A dog.", empty]}
    path = format_files.as_lines(tmp_path / "a.jsonl", [record])
    raws, rejects = format_files.read(path, "captions")
    assert [raw.documents for raw in raws] == [(FIRST,)]
    assert format_files.reasons(rejects) == [(1, "empty_caption", "caption")]


def test_what_a_record_cant_hold_is_kept_as_ascii(tmp_path):
    more = {"number": 10**30, "half": "\ud800"}
    path = format_files.as_lines(tmp_path / "a.jsonl", [DOG | more])
    ((raw,), _) = format_files.read(path, "captions")
    assert raw.meta["number"] == str(10**30)
    assert raw.meta["half"] == "'\\ud800'"


def test_any_division_of_a_real_file_gives_the_same(real_data):
    path = real_data / "captions" / "flickr8k_1000" / "captions.jsonl"
    whole = format_files.found(path, "captions")
    with path.open() as file:
        expected = [json.loads(line) for line in file]
    assert len(whole) == len(expected) == 1000
    for raw, record in zip(whole, expected):
        texts = [caption.strip() for caption in record["captions"]]
        assert [text.text for _, text in raw.documents] == texts
        assert {shown.path for shown, _ in raw.documents} == {record["image"]}
    for size in (1, 1000, 54_321):
        assert format_files.divided(path, "captions", size) == whole


def test_a_broken_array_tells_how_far_it_was_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([DOG, DOG])[:-20])
    raws, rejects = format_files.read(path, "captions")
    assert len(raws) == 1
    assert format_files.reasons(rejects) == [(2, "broken_file", "rest of the file")]

"""OBELICS and MINT-1T rows keep their order; what is lost of one is told."""

import importlib
import json

import divided
import pytest

from data_pipelines.prepare.formats import (
    captions_parquet,
    interleaved_parquet,
    text_parquet,
)
from data_pipelines.prepare.formats.base import Settings

pa = pytest.importorskip("pyarrow")
pq = importlib.import_module("pyarrow.parquet")


def _file(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_published_obelics_names_urls_and_its_page(tmp_path):
    row = {
        "images": ["https://a.org/1.jpg", None, None],
        "texts": [None, "one", "two"],
        "metadata": json.dumps([{"src": "https://a.org/1.jpg"}, None, None]),
        "general_metadata": json.dumps({"url": "https://a.org", "warc_filename": "w"}),
    }
    path = _file(tmp_path / "a.parquet", [row])
    (raw,), rejects = divided.of_file(interleaved_parquet.FORMAT, path)
    assert not rejects
    assert divided.shape(raw.documents[0]) == ["https://a.org/1.jpg", "one\n\ntwo"]
    assert raw.url == "https://a.org"
    assert raw.meta["general_metadata"]["warc_filename"] == "w"
    assert not text_parquet.FORMAT.sniff(path)
    assert not captions_parquet.FORMAT.sniff(path)


def _struct(data):
    return {"bytes": data, "path": None}


def test_merged_obelics_has_the_bytes_and_metadata_their_url(tmp_path, photos):
    row = {
        "images": [None, _struct(photos[0]), None, _struct(photos[1])],
        "texts": ["a", None, "b", None],
        "metadata": json.dumps([None, {"src": "http://x/1"}, None, None]),
    }
    path = _file(tmp_path / "a.parquet", [row])
    (raw,), _ = divided.of_file(interleaved_parquet.FORMAT, path)
    assert divided.shape(raw.documents[0]) == ["a", photos[0], "b", photos[1]]
    assert raw.documents[0][1].url == "http://x/1"


def test_an_empty_struct_loses_its_image_or_as_the_user_says(tmp_path, photos):
    rows = [{"images": [_struct(None), _struct(photos[0]), None],
             "texts": [None, None, "a"]}]  # fmt: skip
    path = _file(tmp_path / "a.parquet", rows)
    (raw,), (lost,) = divided.of_file(interleaved_parquet.FORMAT, path)
    assert divided.shape(raw.documents[0]) == [photos[0], "a"]
    assert (lost.reason, lost.lost) == ("missing_field", "image")
    drop = Settings(missing_image="drop")
    assert not divided.of_file(interleaved_parquet.FORMAT, path, drop)[0]
    with pytest.raises(ValueError, match="record 1: missing_field"):
        divided.of_file(
            interleaved_parquet.FORMAT, path, Settings(missing_image="error")
        )


def test_rows_that_are_not_aligned_are_rejected(tmp_path):
    rows = [
        {"images": ["http://a/1", None], "texts": ["a", None]},
        {"images": ["http://a/1"], "texts": ["a", None]},
        {"images": ["http://a/1"], "texts": [None]},
    ]
    path = _file(tmp_path / "a.parquet", rows)
    raws, rejects = divided.of_file(interleaved_parquet.FORMAT, path)
    assert not raws
    reasons = ["misaligned", "misaligned", "empty_text"]
    assert [r.reason for r in rejects] == reasons

"""Rows of the Cauldron and FineVision become conversations, pictures first."""

import importlib

import divided
import pytest

from data_pipelines.prepare.formats import cauldron, chat_parquet, interleaved_parquet

pa = pytest.importorskip("pyarrow")
pq = importlib.import_module("pyarrow.parquet")


def _texts(*pairs):
    return [{"user": u, "assistant": a, "source": "VQAv2"} for u, a in pairs]


def _file(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_all_pictures_stand_before_the_first_question(tmp_path, photos):
    images = [{"bytes": data, "path": None} for data in photos[:2]]
    texts = _texts(("How many?", "Two."), ("Same?", "No."))
    path = _file(tmp_path / "a.parquet", [{"images": images, "texts": texts}])
    (raw,), rejects = divided.of_file(cauldron.FORMAT, path)
    assert not rejects
    assert divided.shape(raw.documents[0]) == [
        "~USER:", photos[0], photos[1], "~\nHow many?\nASSISTANT:", " Two.",
        "~\nUSER: Same?\nASSISTANT:", " No.",
    ]  # fmt: skip
    assert raw.scores["source"] == "VQAv2"


def test_the_lowest_rating_of_a_row_is_its_score(tmp_path, photos):
    row = {
        "images": [{"bytes": photos[0], "path": "1.jpg"}],
        "texts": [{"user": "a", "assistant": "b"}, {"user": "c", "assistant": "d"}],
        "source": "chartqa",
        "relevance_ratings": [5, 2],
        "formatting_ratings": [4, None],
        "visual_dependency_ratings": [],
    }
    path = _file(tmp_path / "a.parquet", [row])
    (raw,), _ = divided.of_file(cauldron.FORMAT, path)
    assert raw.scores == {
        "source": "chartqa", "relevance_ratings": 2, "formatting_ratings": 4
    }  # fmt: skip
    assert raw.meta["relevance_ratings"] == [5, 2]


def test_rows_without_pictures_are_text_and_bad_rows_are_rejected(tmp_path):
    rows = [
        {"images": [], "texts": _texts(("Hi", "Hello"))},
        {"images": [{"bytes": None, "path": "x.jpg"}], "texts": []},
        {"images": [{"bytes": None, "path": None}], "texts": _texts(("a", "b"))},
        {"images": [{"bytes": None, "path": "x.jpg"}], "texts": _texts(("a", None))},
    ]
    path = _file(tmp_path / "a.parquet", rows)
    (raw,), rejects = divided.of_file(cauldron.FORMAT, path)
    assert divided.shape(raw.documents[0]) == ["~USER: Hi\nASSISTANT:", " Hello"]
    assert [(r.number, r.reason) for r in rejects] == [
        (2, "missing_field"), (3, "missing_field"), (4, "missing_field")
    ]  # fmt: skip


def test_no_other_parquet_is_taken_for_it(tmp_path, photos):
    path = _file(tmp_path / "a.parquet", [{"images": [], "texts": _texts(("a", "b"))}])
    assert not chat_parquet.FORMAT.sniff(path)
    assert not interleaved_parquet.FORMAT.sniff(path)

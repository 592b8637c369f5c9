"""Pictures of MMC4 pages stand before their sentences, in both ways of matching."""

import base64
import gzip
import json

import format_files
import pytest

from data_pipelines.prepare.formats import mmc4_assign
from data_pipelines.prepare.formats.base import Settings


def _info(name, index, **more):
    return {"image_name": name, "raw_url": f"http://i/{name}", "matched_sim": 0.3,
            "matched_text_index": index, "face_detections": None, **more}  # fmt: skip


PAGE = {
    "text_list": ["Zero.", "One.", "Two.", "Three."],
    "url": "http://page",
    "could_have_url_duplicate": 0,
    "image_info": [_info("a.jpg", 2), _info("b.jpg", 0), _info("c.jpg", 2)],
    "similarity_matrix": [
        [0.10, 0.10, 0.30, 0.10],
        [0.31, 0.10, 0.10, 0.10],
        [0.10, 0.10, 0.29, 0.26],
    ],
}


def _read(tmp_path, record, name="mmc4", settings=None):
    path = format_files.as_lines(tmp_path / "a.jsonl", [record])
    raws, rejects = format_files.read(path, name, settings)
    shown = [format_files.shown(raw.documents[0]) for raw in raws]
    return shown, format_files.reasons(rejects)


def test_a_picture_stands_before_the_sentence_that_the_file_names(tmp_path):
    shown, rejects = _read(tmp_path, PAGE)
    expected = ["<b.jpg>", "Zero. One.", "<a.jpg>", "<c.jpg>", "Two. Three."]
    assert shown == [expected]
    assert not rejects


def test_where_a_page_and_its_pictures_come_from_is_kept(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(PAGE).encode()))
    (raw,), _ = format_files.read(path, "mmc4")
    assert raw.url == "http://page"
    assert raw.documents[0][0].url == "http://i/b.jpg"
    assert raw.meta == {"could_have_url_duplicate": 0}


def test_matched_anew_no_two_pictures_share_a_sentence(tmp_path):
    shown, rejects = _read(tmp_path, PAGE, "mmc4_assigned")
    expected = ["<b.jpg>", "Zero. One.", "<a.jpg>", "Two.", "<c.jpg>", "Three."]
    assert shown == [expected]
    assert not rejects


def test_matched_anew_weak_pages_are_left_out(tmp_path):
    weak = PAGE | {"similarity_matrix": [[0.1] * 4] * 3}
    assert _read(tmp_path, weak, "mmc4_assigned") == (
        [], [(1, "no_matching_image", "record")]
    )  # fmt: skip
    kept = 0
    for number in range(40):
        texts = [f"Page {number}.", "One.", "Two.", "Three."]
        matrix = [[0.3, 0.1, 0.1, 0.1], [0.1] * 4, [0.1] * 4]
        page = PAGE | {"text_list": texts, "similarity_matrix": matrix}
        shown, rejects = _read(tmp_path, page, "mmc4_assigned")
        assert mmc4_assign.is_dropped(texts, 0.5) == (not shown)
        assert rejects == ([] if shown else [(1, "single_image", "record")])
        kept += len(shown)
    assert 8 < kept < 32


@pytest.mark.parametrize("size", [9_999, 10_000])
def test_pictures_inside_of_the_file_are_its_bytes(tmp_path, size):
    data = bytes(size)
    inline = _info("a.jpg", 1, image_base64=base64.b64encode(data).decode())
    page = PAGE | {"image_info": [inline, _info("b.jpg", 0)],
                   "similarity_matrix": PAGE["similarity_matrix"][:2]}  # fmt: skip
    path = format_files.as_lines(tmp_path / "a.jsonl", [page])
    (raw,), _ = format_files.read(path, "mmc4")
    assert data in [getattr(part, "data", None) for part in raw.documents[0]]
    page = PAGE | {"image_info": [inline, inline, _info("b.jpg", 0)]}
    assert not mmc4_assign.is_dropped(PAGE["text_list"], 0.5)
    _, rejects = _read(tmp_path, page, "mmc4_assigned")
    small = [(1, "small_image", "image")] * 2
    assert rejects == (small if size < 10_000 else [])


def test_a_shard_may_have_its_own_folder_of_pictures(tmp_path):
    path = format_files.as_lines(tmp_path / "docs_shard_7_v3.jsonl", [PAGE])
    (tmp_path / "docs_shard_7_v3").mkdir()
    (found,) = format_files.found(path, "mmc4", folder=str(tmp_path))
    assert found.folder == str(tmp_path / "docs_shard_7_v3")
    other = format_files.as_lines(tmp_path / "docs_shard_8_v3.jsonl", [PAGE])
    (found,) = format_files.found(other, "mmc4", folder=str(tmp_path))
    assert found.folder == str(tmp_path)


@pytest.mark.parametrize("index", [4, -1, None, "2", True])
def test_a_picture_without_a_sentence_is_lost_alone(tmp_path, index):
    page = PAGE | {"image_info": [_info("a.jpg", index), _info("b.jpg", 0)]}
    shown, rejects = _read(tmp_path, page)
    assert shown == [["<b.jpg>", "Zero. One. Two. Three."]]
    assert rejects == [(1, "misaligned", "image")]


def test_what_a_lost_picture_costs_can_be_chosen(tmp_path):
    page = PAGE | {"image_info": [_info("", 0), _info("b.jpg", 0)]}
    settings = Settings(missing_image="drop")
    assert _read(tmp_path, page, "mmc4", settings) == (
        [], [(1, "missing_field", "record")]
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"a.jsonl: record 1: missing_field: image 0"):
        _read(tmp_path, page, "mmc4", Settings(missing_image="error"))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"text_list": None}, "missing_field"),
        ({"image_info": {}}, "missing_field"),
        ({"text_list": ["a", 3]}, "misaligned"),
        ({"image_info": ["a.jpg"]}, "misaligned"),
        ({"text_list": [" ", ""]}, "empty_text"),
        ({"text_list": ["\ud800"]}, "not_utf8"),
    ],
)
@pytest.mark.parametrize("name", ["mmc4", "mmc4_assigned"])
def test_what_is_bad_is_left_out(tmp_path, more, reason, name):
    assert _read(tmp_path, PAGE | more, name) == ([], [(1, reason, "record")])


@pytest.mark.parametrize(
    "matrix", [None, [], [[0.3] * 4], [[0.3] * 3] * 3, [["x"] * 4] * 3, 7]
)
def test_a_matrix_of_another_shape_is_left_out(tmp_path, matrix):
    page = PAGE | {"similarity_matrix": matrix}
    assert _read(tmp_path, page, "mmc4_assigned") == (
        [], [(1, "misaligned", "record")]
    )  # fmt: skip

"""Own data: each line becomes documents, or a reject with its reason."""

import json

import PIL.Image
import pytest

from data_pipelines import records
from data_pipelines.prepare import own
from data_pipelines.prepare.own import Kept, Line, Options, Reject
from data_pipelines.records import Image, Text


@pytest.fixture
def images(tmp_path):
    for number in range(40):
        picture = PIL.Image.new("RGB", (8, 8), (6 * number, 0, 0))
        picture.save(tmp_path / f"{number}.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no")
    return tmp_path


def _run(corpus, data, folder="", options=None):
    data = data if isinstance(data, (bytes, str)) else json.dumps(data).encode()
    line = Line(corpus, "file", 3, str(folder), data)
    found = list(own.documents(line, options or Options()))
    kept = [records.decode(f.record) for f in found if isinstance(f, Kept)]
    return kept, [f for f in found if isinstance(f, Reject)]


def _shown(document):
    return [s.text if isinstance(s, Text) else Image for s in document.segments]


def test_every_caption_of_an_image_is_a_document(images):
    data = {"image": "1.jpg", "captions": ["A.", " B. "], "licence": "CC", "url": "u"}
    kept, rejects = _run("captions", data, images)
    assert [_shown(d) for d in kept] == [[Image, "A."], [Image, "B."]]
    assert {(d.licence, d.url, d.source) for d in kept} == {("CC", "u", "captions")}
    assert not rejects
    kept, _ = _run("captions", {"image": "1.jpg", "caption": "C."}, images)
    assert [_shown(d) for d in kept] == [[Image, "C."]]


def test_all_captions_of_an_image_are_on_the_same_side(images):
    sides = []
    options = Options(heldout=0.5)
    for number in range(40):
        data = json.dumps({"image": f"{number}.jpg", "captions": ["a", "b", "c"]})
        line = Line("captions", "file", 1, str(images), data.encode())
        found = {kept.split for kept in own.documents(line, options)}
        assert len(found) == 1
        sides += found
    assert 8 < sides.count("heldout") < 32


def test_the_held_out_share_is_as_asked_and_more_is_a_superset():
    def heldout(share):
        options = Options(heldout=share)
        found = set()
        for number in range(2000):
            line = Line("text", "file", number, "", f"text {number}")
            if next(own.documents(line, options)).split == "heldout":
                found.add(number)
        return found

    assert heldout(0.0) == set()
    few, more = heldout(0.05), heldout(0.2)
    assert few < more
    assert 60 < len(few) < 140


def test_an_interleaved_document_keeps_reading_order(images):
    data = {
        "texts": ["one", None, "two", "three", " ", None],
        "images": [None, {"file": "1.jpg", "alt": "x"}, None, None, None, "2.jpg"],
    }
    kept, rejects = _run("interleaved", data, images)
    assert [_shown(d) for d in kept] == [["one", Image, "two\n\nthree", Image]]
    assert not rejects


def test_an_interleaved_document_that_loses_an_image_keeps_its_text(images):
    data = {
        "texts": ["one", None, "two", None],
        "images": [None, "broken.jpg", None, {"path": "1.jpg"}],
    }
    kept, rejects = _run("interleaved", data, images)
    assert [_shown(d) for d in kept] == [["one\n\ntwo", Image]]
    assert [(r.reason, r.lost) for r in rejects] == [("unreadable_image", "image")]
    assert "position 1" in rejects[0].detail


def test_a_text_keeps_its_spaces_and_newlines():
    kept, _ = _run("text", {"text": "\n  a\n\tb \n"})
    assert [_shown(d) for d in kept] == [["  a\n\tb "]]
    kept, _ = _run("text", "a\nb")
    assert [_shown(d) for d in kept] == [["a\nb"]]


CAPTION = {"image": "1.jpg", "caption": "c"}
BAD = [
    ("captions", b"{not json", "malformed_json", "document"),
    ("captions", b"[1]", "malformed_json", "document"),
    ("captions", b"[" * 100_000, "malformed_json", "document"),
    ("captions", b'{"image": "\xff"}', "not_utf8", "document"),
    ("captions", CAPTION | {"caption": "\ud800"}, "not_utf8", "document"),
    ("captions", {"image": "1.jpg"}, "missing_field", "document"),
    ("captions", {"caption": "c"}, "missing_field", "document"),
    ("captions", CAPTION | {"caption": 3}, "missing_field", "document"),
    ("captions", CAPTION | {"captions": []}, "missing_field", "document"),
    ("captions", CAPTION | {"caption": " \n"}, "empty_caption", "caption"),
    ("captions", CAPTION | {"captions": [None]}, "empty_caption", "caption"),
    ("captions", CAPTION | {"image": "no.jpg"}, "missing_image", "document"),
    ("captions", CAPTION | {"image": "../x.jpg"}, "image_outside_folder", "document"),
    ("captions", CAPTION | {"image": "broken.jpg"}, "unreadable_image", "document"),
    ("captions", CAPTION | {"image": "http://x/y"}, "image_not_local", "document"),
    ("interleaved", {"texts": ["a"]}, "missing_field", "document"),
    ("interleaved", {"texts": ["a"], "images": []}, "misaligned", "document"),
    ("interleaved", {"texts": ["a"], "images": ["1.jpg"]}, "misaligned", "document"),
    ("interleaved", {"texts": [None], "images": [None]}, "misaligned", "document"),
    ("interleaved", {"texts": [3], "images": [None]}, "misaligned", "document"),
    ("interleaved", {"texts": [None], "images": ["1.jpg"]}, "empty_text", "document"),
    ("text", {"text": None}, "missing_field", "document"),
    ("text", {"text": " \n "}, "empty_text", "document"),
    ("text", {"text": "a\udc80"}, "not_utf8", "document"),
]


@pytest.mark.parametrize(("corpus", "data", "reason", "lost"), BAD)
def test_what_is_bad_is_left_out_with_a_reason(images, corpus, data, reason, lost):
    kept, rejects = _run(corpus, data, images)
    assert not kept
    assert [(r.file, r.line) for r in rejects] == [("file", 3)]
    assert (rejects[0].reason, rejects[0].lost) == (reason, lost)
    assert rejects[0].detail
    json.dumps(rejects[0]._asdict()).encode("utf-8")


def test_one_empty_caption_among_good_ones_loses_only_itself(images):
    kept, rejects = _run(
        "captions", {"image": "1.jpg", "captions": ["a", "", "b"]}, images
    )
    assert len(kept) == 2
    assert [r.reason for r in rejects] == ["empty_caption"]

"""Samples of img2dataset and its like become captions."""

import json

import divided
import pytest
from tar_files import write

from data_pipelines.prepare.formats import chat_tars, mmc4_tars, webdataset
from data_pipelines.prepare.formats.base import Settings


def _read(path, members, settings=divided.PLAIN):
    write(path, members)
    assert not chat_tars.FORMAT.sniff(path)
    assert not mmc4_tars.FORMAT.sniff(path)
    return divided.of_file(webdataset.FORMAT, path, settings)


def _json(**values):
    return json.dumps(values).encode()


def _captions(raws):
    return [[d[1].text for d in raw.documents] for raw in raws]


def test_what_img2dataset_writes(tmp_path, photos):
    note = _json(
        url="http://a.org/1.jpg", caption="a dog", key="000000000", status="success",
        error_message=None, width=640, height=480, similarity=0.31, punsafe=0.01,
        sha256="ab", exif="{}",
    )  # fmt: skip
    members = [("000000000.jpg", photos[0]), ("000000000.json", note),
               ("000000000.txt", b"a dog\n")]  # fmt: skip
    (raw,), rejects = _read(tmp_path / "00000.tar", members)
    assert not rejects
    assert divided.shape(raw.documents[0]) == [photos[0], "a dog"]
    assert raw.url == "http://a.org/1.jpg"
    assert raw.scores == {
        "key": "000000000", "width": 640, "height": 480, "similarity": 0.31,
        "punsafe": 0.01, "sha256": "ab", "exif": "{}",
    }  # fmt: skip
    assert raw.meta == raw.scores


@pytest.mark.parametrize("suffix", ["jpg", "png", "jpeg", "webp", "JPG"])
def test_pictures_of_any_kind(tmp_path, photos, suffix):
    members = [(f"a.{suffix}", photos[0]), ("a.txt", "ein H\u00fcndchen".encode())]
    raws, _ = _read(tmp_path / "a.tar", members)
    assert divided.shape(raws[0].documents[0]) == [photos[0], "ein H\u00fcndchen"]


def test_captions_of_the_json_may_be_several(tmp_path, photos):
    members = [
        ("a.jpg", photos[0]), ("a.json", _json(caption=["one", "two", ""])),
        ("b.jpg", photos[1]), ("b.json", _json(caption="three")),
    ]  # fmt: skip
    raws, (lost,) = _read(tmp_path / "a.tar", members)
    assert _captions(raws) == [["one", "two"], ["three"]]
    assert (lost.number, lost.reason, lost.lost) == (1, "empty_caption", "caption")


def test_the_user_may_name_the_member_or_field(tmp_path, photos):
    members = [
        ("a.jpg", photos[0]), ("a.seg.png", photos[1]), ("a.txt", b"alt"),
        ("a.long.txt", b"longer"), ("a.json", _json(llava="longest")),
    ]  # fmt: skip
    path = tmp_path / "a.tar"
    for key, caption in (("", "alt"), ("long.txt", "longer"), ("llava", "longest")):
        raws, _ = _read(path, members, Settings(text_key=key))
        assert _captions(raws) == [[caption]]
    raws, _ = _read(path, members, Settings(image_key="seg.png;jpg"))
    assert divided.shape(raws[0].documents[0])[0] == photos[1]
    raws, rejects = _read(path, members, Settings(text_key="none"))
    assert (raws, rejects[0].reason) == ([], "missing_field")


def test_a_class_is_a_caption_by_its_name_only(tmp_path, photos):
    members = [("a.jpg", photos[0]), ("a.cls", b"goldfish\n"),
               ("b.jpg", photos[1]), ("b.cls", b"17"),
               ("c.jpg", photos[2]), ("c.cls", b"17"), ("c.txt", b"shark")]  # fmt: skip
    raws, (lost,) = _read(tmp_path / "a.tar", members)
    assert _captions(raws) == [["goldfish"], ["shark"]]
    assert raws[1].scores["cls"] == "17"
    assert (lost.number, lost.reason) == (2, "missing_field")


def test_bad_samples_are_rejected_alone_with_their_key(tmp_path, photos):
    good = [("z.jpg", photos[0]), ("z.txt", b"fine")]
    members = [
        ("y.jpg", photos[0]), ("y.txt", b"first"),
        ("a.jpg", photos[0]), ("a.json", _json(status="failed_to_download",
                                               error_message="404", caption="x")),
        ("b.txt", b"no picture"),
        ("c.jpg", photos[0]), ("c.json", b"{"),
        ("d.jpg", photos[0]), ("d.txt", b"caf\xe9"),
        ("e.jpg", photos[0]),
        ("f.jpg", photos[0]), ("f.txt", b" \n"), *good,
    ]  # fmt: skip
    raws, rejects = _read(tmp_path / "a.tar", members)
    assert _captions(raws) == [["first"], ["fine"]]
    assert [(r.number, r.reason) for r in rejects] == [
        (2, "not_downloaded"), (3, "missing_image"), (4, "malformed_json"),
        (5, "not_utf8"), (6, "missing_field"), (7, "empty_caption"),
    ]  # fmt: skip
    assert all(f"key {key}" in r.detail for key, r in zip("abcdef", rejects))

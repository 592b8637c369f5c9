"""Zips of one file are read like what they hold; those made to do harm are refused."""

import json
import random
import tracemalloc
import zipfile

import format_files
import pytest

from data_pipelines.prepare.formats import inputs, unpacking, zips

PAGE = {
    "text_list": ["Zero.", "One."],
    "url": "http://page",
    "image_info": [{"image_name": "a.jpg", "matched_text_index": 1}],
    "similarity_matrix": [[0.1, 0.3]],
}


def _zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_mmc4s_zips_give_what_their_lines_give(tmp_path, method):
    name = "docs_no_face_shard_7_v3.jsonl"
    lines = format_files.as_lines(tmp_path / name, [PAGE, PAGE | {"url": "b"}])
    path = _zip(tmp_path / f"{name}.zip", {name: lines.read_bytes()}, method)
    (found,) = inputs.expand([str(path)], "", "interleaved")
    assert found.format == "mmc4"
    packed, plain = (format_files.read(p, "mmc4")[0] for p in (path, lines))
    assert [raw.documents for raw in packed] == [raw.documents for raw in plain]
    assert len(packed) == 2
    assert {one.name for one in tmp_path.iterdir()} == {name, f"{name}.zip"}


def test_pictures_of_a_zipped_shard_may_have_its_own_folder(tmp_path):
    path = _zip(tmp_path / "s7.jsonl.zip", {"s7.jsonl": json.dumps(PAGE)})
    (tmp_path / "s7").mkdir()
    (found,) = format_files.found(path, "mmc4", folder=str(tmp_path))
    assert found.folder == str(tmp_path / "s7")


def test_a_macs_notes_and_folders_are_no_content(tmp_path):
    members = {"in/": "", "in/a.txt": "text", "__MACOSX/in/._a.txt": "note"}
    path = _zip(tmp_path / "a.txt.zip", members)
    with unpacking.open_bytes(path) as file:
        assert file.read() == b"text"


def _marked_as_encrypted(path):
    data = bytearray(path.read_bytes())
    for mark, place in (b"PK\x03\x04", 6), (b"PK\x01\x02", 8):
        data[data.index(mark) + place] |= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("members", "rule"),
    [
        ({"../a.txt": "x"}, r"holds '../a.txt': its files must stay in their folder"),
        ({"a.txt": "x", "b/../../c": ""}, "must stay in their folder"),
        ({"/etc/a.txt": "x"}, "must stay in their folder"),
        ({"C:\\a.txt": "x"}, "must stay in their folder"),
        ({"..\\a.txt": "x"}, "must stay in their folder"),
        ({"a.txt": "x", "b.txt": "x"}, "holds 2 files: must be one"),
        ({}, "holds 0 files: must be one"),
    ],
)
def test_a_zip_of_other_things_is_an_error_before_it_is_read(tmp_path, members, rule):
    path = _zip(tmp_path / "a.txt.zip", members)
    with pytest.raises(ValueError, match=rule):
        inputs.expand([str(path)], "", "text")
    with pytest.raises(ValueError, match=rule):
        inputs.expand([f"text:{path}"], "", "text")


def test_an_encrypted_zip_and_none_at_all_are_errors(tmp_path):
    path = _zip(tmp_path / "a.txt.zip", {"a.txt": "x"})
    _marked_as_encrypted(path)
    with pytest.raises(ValueError, match=r"'a.txt' is encrypted: unlock it first"):
        zips.check(path)
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"a.txt.zip: not a whole zip"):
        zips.check(path)


def test_a_bomb_is_refused_unread_and_plain_text_is_not(tmp_path):
    path = tmp_path / "a.txt.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a.txt", "w") as member,
    ):
        for _ in range(80):
            member.write(bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"unpacks to 83886080 bytes: must be at"):
            zips.check(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    zips.check(_zip(tmp_path / "b.txt.zip", {"b.txt": "the same line\n" * 100_000}))


def test_what_a_header_says_too_small_is_broken_not_more(tmp_path):
    path = _zip(tmp_path / "a.txt.zip", {"a.txt": "line\n" * 1000})
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02") + 24  # its unpacked size
    assert int.from_bytes(data[place : place + 4], "little") == 5000
    data[place : place + 4] = (500).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(unpacking.Broken), unpacking.open_bytes(path) as file:
        file.read()


def test_a_damaged_zip_gives_the_lines_before_and_a_reject(tmp_path):
    rng = random.Random(0)
    texts = [{"text": f"{n} {rng.getrandbits(300)}"} for n in range(20_000)]
    plain = "".join(json.dumps(text) + "\n" for text in texts)
    path = _zip(tmp_path / "a.jsonl.zip", {"a.jsonl": plain})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    raws, rejects = format_files.read(path, "text")
    assert 2000 < len(raws) < 20_000
    assert rejects[-1].reason == "broken_file"
    good = [raw.documents[0][0].text for raw in raws[:2000]]
    assert good == [text["text"] for text in texts[:2000]]

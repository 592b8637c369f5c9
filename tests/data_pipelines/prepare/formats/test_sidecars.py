"""A folder of pictures has a caption in a .txt beside each of them."""

import json
import pathlib

import format_files

from data_pipelines.prepare.formats import sidecars
from data_pipelines.prepare.formats.base import Settings


def _write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        stem, _, suffix = name.rpartition("_")
        (folder / f"{stem}.{suffix}").write_bytes(data)


def test_pictures_have_the_caption_of_their_stem(tmp_path):
    _write(
        tmp_path, b_jpg=b"1", b_txt=b"\xef\xbb\xbf Bee. \n", a_PNG=b"2", a_txt=b"A\nB"
    )
    _write(tmp_path / "in" / "side", c_webp=b"3", c_txt=b"Sea.")
    raws, rejects = format_files.read(tmp_path, "folder")
    shown = [(r.number, *format_files.shown(r.documents[0])) for r in raws]
    assert shown == [(1, "<a.PNG>", "A\nB"), (2, "<b.jpg>", "Bee."),
                     (1, "<c.webp>", "Sea.")]  # fmt: skip
    assert not rejects
    for raw in raws:
        assert pathlib.Path(raw.folder, raw.documents[0][0].path).is_file()


def test_a_picture_without_a_caption_is_told(tmp_path):
    _write(tmp_path, a_jpg=b"", b_jpg=b"", b_txt=b" \n", c_jpg=b"", c_txt=b"\xff",
           d_jpg=b"", d_txt=b"Dee.", e_txt=b"nobody's")  # fmt: skip
    raws, rejects = format_files.read(tmp_path, "folder")
    assert [raw.number for raw in raws] == [4]
    assert format_files.reasons(rejects) == [
        (1, "missing_field", "record"),
        (2, "empty_caption", "record"),
        (3, "not_utf8", "record"),
    ]


def test_units_of_few_pictures_give_the_same(tmp_path, monkeypatch):
    for number in range(11):
        _write(tmp_path, **{f"{number}_jpg": b"", f"{number}_txt": b"%d" % number})
    whole = format_files.found(tmp_path, "folder")
    monkeypatch.setattr(sidecars, "UNIT_IMAGES", 4)
    units = list(sidecars.FORMAT.units(tmp_path, "unused"))
    assert len(units) == 3
    parts = [one for u in units for one in sidecars.FORMAT.read(u, Settings())]
    assert parts == whole


def test_real_captions_beside_their_pictures(real_data, tmp_path):
    photos = real_data / "captions" / "flickr8k_1000"
    with (photos / "captions.jsonl").open() as file:
        records = [json.loads(next(file)) for _ in range(20)]
    for record in records:
        image = photos / record["image"]
        (tmp_path / image.name).symlink_to(image)
        (tmp_path / f"{image.stem}.txt").write_text(record["captions"][0])
    assert sidecars.FORMAT.sniff(tmp_path)
    raws, rejects = format_files.read(tmp_path, "folder")
    captions = {raw.documents[0][1].text for raw in raws}
    assert captions == {record["captions"][0].strip() for record in records}
    assert not rejects

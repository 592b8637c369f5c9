"""Rows of LAION and COYO find their downloaded pictures, or say which are missing."""

import hashlib
import importlib

import divided
import pytest

from data_pipelines.prepare.formats import captions_parquet, text_parquet, url_parquet
from data_pipelines.prepare.formats.base import Settings

pa = pytest.importorskip("pyarrow")
pq = importlib.import_module("pyarrow.parquet")

URL = "http://a.org/1.jpg"
LAION = {
    "URL": URL, "TEXT": "a dog", "WIDTH": 640, "HEIGHT": 480, "similarity": 0.31,
    "hash": 77, "LANGUAGE": "en", "punsafe": 0.01, "pwatermark": 0.2,
}  # fmt: skip
COYO = {
    "id": 12, "url": URL, "text": "a dog", "width": 640, "height": 480,
    "clip_similarity_vitb32": 0.29, "watermark_score": 0.1,
    "aesthetic_score_laion_v2": 5.5,
}  # fmt: skip


def _file(path, *rows):
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def _image(folder, name, photos):
    path = folder / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photos[0])
    return str(folder / "images")


def _hex(name):
    return hashlib.new(name, URL.encode()).hexdigest()


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (LAION, "77.jpg"),
        (LAION, _hex("md5") + ".jpg"),
        (COYO, "12.png"),
        (COYO, _hex("sha256") + ".webp"),
        ({**COYO, "key": "000010002"}, "000010002.jpg"),
        ({**COYO, "key": "000010002"}, "00001/000010002.jpg"),
        ({**COYO, "file": "x/y.jpeg"}, "x/y.jpeg"),
    ],
)
def test_a_picture_is_found_by_file_key_id_or_hash_of_its_url(
    tmp_path, photos, row, name
):
    folder = _image(tmp_path, name, photos)
    path = _file(tmp_path / "a.parquet", row)
    (raw,), rejects = divided.of_file(url_parquet.FORMAT, path, folder=folder)
    assert not rejects
    assert divided.shape(raw.documents[0]) == [name, "a dog"]
    assert raw.documents[0][0].url == raw.url == URL
    scores = {k: v for k, v in row.items() if k.lower() not in ("url", "text")}
    assert raw.scores == scores


def test_the_column_that_the_user_names_is_the_only_one_tried(tmp_path, photos):
    folder = _image(tmp_path, "12.jpg", photos)
    path = _file(tmp_path / "a.parquet", {**COYO, "place": "other.jpg"})
    settings = Settings(image_key="place")
    raws, (lost,) = divided.of_file(url_parquet.FORMAT, path, settings, folder)
    assert (raws, lost.reason) == ([], "missing_image")


def test_a_folder_without_pictures_is_an_error_with_the_command_to_run(tmp_path):
    path = _file(tmp_path / "a b.parquet", LAION)
    with pytest.raises(ValueError, match="download them with  img2dataset ") as error:
        list(url_parquet.FORMAT.units(path, str(tmp_path)))
    told = str(error.value)
    assert f"--url_list='{path}' --input_format=parquet --url_col=URL" in told
    assert "--caption_col=TEXT" in told
    assert '"similarity"' in told
    assert "\n" not in told


def test_rows_that_were_not_downloaded_are_rejected(tmp_path, photos):
    folder = _image(tmp_path, "000000001.jpg", photos)
    rows = [
        {"url": URL, "caption": "a", "key": "000000001", "status": "success",
         "error_message": None},
        {"url": URL, "caption": "b", "key": "000000002", "status": "failed_to_download",
         "error_message": "404"},
        {"url": URL, "caption": "c", "key": "000000003", "status": "success",
         "error_message": None},
        {"url": URL, "caption": " ", "key": "000000001", "status": "success",
         "error_message": None},
    ]  # fmt: skip
    path = _file(tmp_path / "00000.parquet", *rows)
    (raw,), rejects = divided.of_file(url_parquet.FORMAT, path, folder=folder)
    assert divided.shape(raw.documents[0]) == ["000000001.jpg", "a"]
    assert [r.reason for r in rejects] == [
        "not_downloaded", "missing_image", "empty_caption"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="record 3: missing_image"):
        divided.of_file(
            url_parquet.FORMAT, path, Settings(missing_image="error"), folder
        )


def test_names_never_lead_out_of_the_folder(tmp_path, photos):
    folder = _image(tmp_path, "in.jpg", photos)
    (tmp_path / "out.jpg").write_bytes(photos[0])
    rows = [{**COYO, "file": "../out.jpg"}, {**COYO, "file": str(tmp_path / "out.jpg")}]
    path = _file(tmp_path / "a.parquet", *rows)
    raws, rejects = divided.of_file(url_parquet.FORMAT, path, folder=folder)
    assert not raws
    assert [r.reason for r in rejects] == ["missing_image"] * 2


def test_web_pages_as_text_are_not_taken_for_pictures(tmp_path):
    page = {"text": "long", "url": "http://a", "timestamp": "2019"}
    path = _file(tmp_path / "c4.parquet", page)
    assert not url_parquet.FORMAT.sniff(path)
    assert not captions_parquet.FORMAT.sniff(path)
    assert text_parquet.FORMAT.sniff(path)

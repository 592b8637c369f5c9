"""What a user names leads to files with their formats, or to one clear error."""

import importlib

import format_files
import pytest
import tar_files

from data_pipelines.prepare.formats import inputs
from data_pipelines.prepare.formats.base import Input

pa = pytest.importorskip("pyarrow")
pq = importlib.import_module("pyarrow.parquet")

CAPTION = {"image": "a.jpg", "caption": "A dog."}
PAGE = {"texts": ["a", None], "images": [None, "a.jpg"]}


def _names(found):
    return [one.file.rsplit("/", 1)[1] for one in found]


def test_paths_globs_braces_and_folders_name_files(tmp_path):
    for name in ("t0.txt", "t1.txt", "c.jsonl", "d.jpg", ".hidden.txt"):
        (tmp_path / name).write_text('{"text": "a"}')
    (tmp_path / "empty.jsonl").touch()
    patterns = {
        f"{tmp_path}": ["c.jsonl", "t0.txt", "t1.txt"],
        f"{tmp_path}/*.txt": ["t0.txt", "t1.txt"],
        f"{tmp_path}/t{{0..1}}.txt": ["t0.txt", "t1.txt"],
        f"{tmp_path}/t1.txt": ["t1.txt"],
        f"{tmp_path}/t1.txt::{tmp_path}/c.jsonl": ["c.jsonl", "t1.txt"],
    }
    for pattern, names in patterns.items():
        assert _names(inputs.expand([pattern], corpus="text")) == names
    twice = inputs.expand([f"{tmp_path}/t1.txt", f"{tmp_path}/*.txt"], corpus="text")
    assert len(twice) == 2
    assert twice[0].folder == str(tmp_path)


def test_a_format_may_be_named(tmp_path):
    path = format_files.as_lines(tmp_path / "a.jsonl", [{"img": "a.jpg", "alt": "x"}])
    both = CAPTION | PAGE
    other = format_files.as_lines(tmp_path / "b.jsonl", [both])
    found = inputs.expand([f"captions:{path}::{other}"], str(tmp_path), "captions")
    assert found == [Input(str(p), "captions", str(tmp_path)) for p in (path, other)]
    (page,) = inputs.expand([f"mmc4_assigned:{tmp_path}/b*"], "", "interleaved")
    assert page.format == "mmc4_assigned"


def test_a_folder_of_pictures_is_a_corpus_unless_a_table_tells_about_it(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.txt").write_text("A dog.")
    (whole,) = inputs.expand([str(tmp_path)], corpus="captions")
    assert whole == Input(str(tmp_path), "folder", str(tmp_path))
    format_files.as_lines(
        tmp_path / "metadata.jsonl", [{"file_name": "a", "text": "x"}]
    )
    (table,) = inputs.expand([str(tmp_path)], corpus="captions")
    assert table.format == "captions"
    (named,) = inputs.expand([f"folder:{tmp_path}"], corpus="captions")
    assert named.format == "folder"


def test_what_leads_to_nothing_is_one_clear_error(tmp_path):
    (tmp_path / "t0.txt").write_text("a")
    for pattern, rule in {
        f"{tmp_path}/absent.txt": "absent.txt: no such file of text",
        f"{tmp_path}/t{{0..2}}.txt": "2 of 3 files are missing, first .*t1.txt",
        f"{tmp_path}/t0.txt::": "is empty",
    }.items():
        with pytest.raises(ValueError, match=rule):
            inputs.expand([pattern], corpus="text")
    with pytest.raises(ValueError, match="no file of captions in this folder"):
        inputs.expand([str(tmp_path)], corpus="captions")
    with pytest.raises(ValueError, match="nowhere: no such folder of images"):
        inputs.expand([f"{tmp_path}/t0.txt"], "nowhere", "text")


def test_a_folder_of_img2dataset_is_its_tars(tmp_path):
    rows = [{"url": "http://a/1.jpg", "caption": "a", "key": "000000000", "width": 1}]
    members = [("000000000.jpg", b"x"), ("000000000.txt", b"a")]
    for number in range(2):
        tar_files.write(tmp_path / f"{number:05}.tar", members)
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{number:05}.parquet")
        (tmp_path / f"{number:05}_stats.json").write_text('{"count": 1}')
    found = inputs.expand([str(tmp_path)], corpus="captions")
    assert _names(found) == ["00000.tar", "00001.tar"]
    assert {one.format for one in found} == {"webdataset"}
    for name in ("00000.tar", "00001.tar"):
        (tmp_path / name).unlink()
    (tmp_path / "00000_stats.json").unlink()
    (tmp_path / "00001_stats.json").unlink()
    found = inputs.expand([str(tmp_path)], corpus="captions")
    assert {one.format for one in found} == {"url_parquet"}


def test_sharded_roots_are_found_by_a_glob_or_joined(tmp_path):
    members = [("0.jpg", b"x"), ("0.txt", b"a")]
    for part in range(3):
        tar_files.write(tmp_path / f"part-{part:05}" / "00000.tar", members)
    for pattern, count in {
        f"{tmp_path}/part-*/*.tar": 3,
        f"{tmp_path}/**/*.tar": 3,
        f"{tmp_path}/part-{{00000..00001}}/{{00000..00000}}.tar": 2,
        f"{tmp_path}/part-00000::{tmp_path}/part-00002/00000.tar": 2,
    }.items():
        found = inputs.expand([pattern], corpus="captions")
        assert len(found) == count
        assert {one.format for one in found} == {"webdataset"}

"""What a user names leads to files with their formats, or to one clear error."""

import format_files
import pytest

from data_pipelines.prepare.formats import inputs
from data_pipelines.prepare.formats.base import Input

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

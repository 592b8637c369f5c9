"""A file's format is told by its first record, and never guessed."""

import gzip
import json

import format_files
import pytest

from data_pipelines.prepare.formats import registry
from data_pipelines.prepare.formats.registry import Input

CAPTION = {"image": "a.jpg", "caption": "A dog."}
TURNS = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
PAGE = {"texts": ["a", None], "images": [None, "a.jpg"]}
COCO = {"images": [{"id": 1, "file_name": "a"}], "annotations": []}
KARPATHY = {"images": [{"filename": "a", "sentences": []}], "dataset": "x"}
RECORDS = {
    "captions": CAPTION,
    "interleaved": PAGE,
    "mmc4": {"text_list": ["a"], "image_info": [], "similarity_matrix": []},
    "text": {"text": "a", "meta": {}},
    "llava": {"id": 1, "image": "a.jpg", "conversations": TURNS},
    "chat": {"messages": MESSAGES, "images": ["a.jpg"]},
    "alpaca": {"instruction": "a", "input": "", "output": "b"},
}
CORPUS_OF = {name: c for c, names in registry.CORPORA.items() for name in names}


def _names(inputs):
    return [one.file.rsplit("/", 1)[1] for one in inputs]


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("corpus", ["", "its own"])
def test_json_is_told_by_its_first_record(tmp_path, name, corpus):
    corpus = CORPUS_OF[name] if corpus else ""
    record = RECORDS[name]
    lines = format_files.as_lines(tmp_path / "a.jsonl", [b"{broken", record])
    array = format_files.as_array(tmp_path / "a.json", [record], indent=1)
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    for path in (lines, array, packed):
        assert registry.sniff(path, corpus) == name


@pytest.mark.parametrize(("name", "value"), [("coco", COCO), ("karpathy", KARPATHY)])
def test_cocos_files_are_told_apart(tmp_path, name, value):
    for indent in (None, 1):
        path = format_files.as_array(tmp_path / "a.json", value, indent)
        assert registry.sniff(path) == name


def test_tables_texts_and_folders_are_known(tmp_path):
    (tmp_path / "a.csv").write_text("image,caption\n")
    (tmp_path / "a.tsv").write_text("filepath\ttitle\n")
    (tmp_path / "a.txt").write_text("A dog.")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").touch()
    (tmp_path / "in" / "a.txt").write_text("A dog.")
    assert registry.sniff(tmp_path / "a.csv") == "table"
    assert registry.sniff(tmp_path / "a.tsv", "captions") == "table"
    assert registry.sniff(tmp_path / "a.txt", "text") == "text"
    assert registry.sniff(tmp_path / "in", "captions") == "folder"


def test_every_format_belongs_to_a_corpus():
    assert set(CORPUS_OF) == set(registry.FORMATS)


@pytest.mark.parametrize(
    ("name", "data", "corpus", "rule"),
    [
        ("a.jsonl", b'{"picture": 1}\n', "captions", "fits none of captions; or name"),
        ("a.jsonl", json.dumps(PAGE).encode(), "text", "fits none of text; or name"),
        ("a.xml", b"<a/>", "captions", "no suffix of captions: must be one of .csv"),
        ("a.jsonl", b"", "text", "is empty"),
        ("a.csv", b"a,b\n", "captions", "fits none of table"),
        ("a.jsonl", json.dumps(CAPTION | PAGE).encode(), "",
         "may be captions or interleaved; name the format, as in captions:"),
        ("a.jsonl", b"{}", "pictures", "must be one of captions, interleaved"),
    ],
)  # fmt: skip
def test_what_cant_be_told_is_an_error(tmp_path, name, data, corpus, rule):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rule):
        registry.sniff(tmp_path / name, corpus)


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
        assert _names(registry.expand([pattern], corpus="text")) == names
    twice = registry.expand([f"{tmp_path}/t1.txt", f"{tmp_path}/*.txt"], corpus="text")
    assert len(twice) == 2
    assert twice[0].folder == str(tmp_path)


def test_a_format_may_be_named(tmp_path):
    path = format_files.as_lines(tmp_path / "a.jsonl", [{"img": "a.jpg", "alt": "x"}])
    both = CAPTION | PAGE
    other = format_files.as_lines(tmp_path / "b.jsonl", [both])
    inputs = registry.expand([f"captions:{path}::{other}"], str(tmp_path), "captions")
    assert inputs == [Input(str(p), "captions", str(tmp_path)) for p in (path, other)]
    (page,) = registry.expand([f"mmc4_assigned:{tmp_path}/b*"], "", "interleaved")
    assert page.format == "mmc4_assigned"


def test_a_folder_of_pictures_is_a_corpus_unless_a_table_tells_about_it(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.txt").write_text("A dog.")
    (whole,) = registry.expand([str(tmp_path)], corpus="captions")
    assert whole == Input(str(tmp_path), "folder", str(tmp_path))
    format_files.as_lines(
        tmp_path / "metadata.jsonl", [{"file_name": "a", "text": "x"}]
    )
    (table,) = registry.expand([str(tmp_path)], corpus="captions")
    assert table.format == "captions"
    (named,) = registry.expand([f"folder:{tmp_path}"], corpus="captions")
    assert named.format == "folder"


def test_what_leads_to_nothing_is_one_clear_error(tmp_path):
    (tmp_path / "t0.txt").write_text("a")
    for pattern, rule in {
        f"{tmp_path}/absent.txt": "absent.txt: no such file of text",
        f"{tmp_path}/t{{0..2}}.txt": "2 of 3 files are missing, first .*t1.txt",
        f"{tmp_path}/t0.txt::": "is empty",
    }.items():
        with pytest.raises(ValueError, match=rule):
            registry.expand([pattern], corpus="text")
    with pytest.raises(ValueError, match="no file of captions in this folder"):
        registry.expand([str(tmp_path)], corpus="captions")
    with pytest.raises(ValueError, match="nowhere: no such folder of images"):
        registry.expand([f"{tmp_path}/t0.txt"], "nowhere", "text")


def test_real_files_are_told(real_data):
    known = {
        "captions/flickr8k_1000/captions.jsonl": "captions",
        "interleaved/docs.jsonl": "interleaved",
        "text/wikitext2_test.txt": "text",
    }
    for name, expected in known.items():
        assert registry.sniff(real_data / name) == expected
    with pytest.raises(ValueError, match="fits none of"):
        registry.sniff(real_data / "vqa" / "pope_coco_random.jsonl.gz", "captions")

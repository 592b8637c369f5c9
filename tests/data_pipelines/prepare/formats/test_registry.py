"""A file's format is told by its first record, and never guessed."""

import gzip
import json

import format_files
import pytest

from data_pipelines.prepare.formats import registry

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
        # LLaVA-NeXT's and VILA's rows for DPO
        ("a.jsonl", b'{"image": "a", "prompt": "b", "chosen": "c", "rejected": "d"}',
         "instructions", "fits none of llava, chat, alpaca"),
        ("a.jsonl", b"{}", "pictures", "must be one of captions, interleaved"),
    ],
)  # fmt: skip
def test_what_cant_be_told_is_an_error(tmp_path, name, data, corpus, rule):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rule):
        registry.sniff(tmp_path / name, corpus)


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

"""The Beam pipeline: the same bytes whatever runs it, and every reject listed."""

import hashlib
import json
import pathlib

import PIL.Image
import pytest

pytest.importorskip("apache_beam")

from data_pipelines import shards
from data_pipelines.prepare import beam, readers
from data_pipelines.prepare.own import Options

pytestmark = pytest.mark.extra


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Small corpora with something bad in each."""
    folder = tmp_path_factory.mktemp("own")
    for number in range(12):
        PIL.Image.new("RGB", (9, 9), (20 * number, 9, 0)).save(folder / f"{number}.jpg")
    rows = [{"image": f"{n}.jpg", "captions": [f"a {n}", f"b {n}"]} for n in range(14)]
    lines = [json.dumps(row) for row in rows]
    (folder / "c.jsonl").write_text("\n".join([*lines, "{bad"]))
    pages = [
        {"texts": [f"page {n}", None], "images": [None, f"{n}.jpg"]} for n in range(13)
    ]
    (folder / "i.jsonl").write_text("\n".join(map(json.dumps, pages)))
    (folder / "t.txt").write_bytes(b"one\n\ntwo\n\ncaf\xe9\n\none\n")
    return [
        *readers.inputs("captions", [str(folder / "c.jsonl")]),
        *readers.inputs("interleaved", [str(folder / "i.jsonl")]),
        *readers.inputs("text", [str(folder / "t.txt")]),
    ]


OPTIONS = Options(heldout=0.3, text_split="blank_line")
COUNTS = {"captions": 3, "interleaved": 2, "text": 1}


def _digests(folder: pathlib.Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    beam.run(files, OPTIONS, folder, COUNTS)
    return folder


def test_every_good_document_is_in_a_shard_and_duplicates_are_counted(made):
    manifests = {
        f"{corpus}/{split}": shards.read_manifest(made / corpus / split)
        for corpus in COUNTS
        for split in ("train", "heldout")
    }
    records = {name: manifest["records"] for name, manifest in manifests.items()}
    assert records["captions/train"] + records["captions/heldout"] == 24
    assert records["interleaved/train"] + records["interleaved/heldout"] == 13
    assert records["text/train"] + records["text/heldout"] == 2
    assert sum(m["duplicates"] for m in manifests.values()) == 1
    assert 0 < records["captions/heldout"] < 12
    for name, manifest in manifests.items():
        corpus = name.split("/")[0]
        assert len(manifest["shards"]) == COUNTS[corpus]
        assert len(shards.ShardReader(made / name)) == manifest["records"]


def test_every_reject_is_listed_where_it_stands(made):
    lines = (made / beam.REJECTS).read_text().splitlines()
    found = [json.loads(line) for line in lines]
    listed = [(pathlib.Path(r["file"]).name, r["line"], r["reason"]) for r in found]
    assert listed == [
        ("c.jsonl", 13, "missing_image"),
        ("c.jsonl", 14, "missing_image"),
        ("c.jsonl", 15, "malformed_json"),
        ("i.jsonl", 13, "missing_image"),
        ("t.txt", 5, "not_utf8"),
    ]
    assert [r["lost"] for r in found] == [
        "document", "document", "document", "image", "line",
    ]  # fmt: skip


def test_a_second_run_gives_the_same_bytes(files, made, tmp_path):
    beam.run(files[::-1], OPTIONS, tmp_path, COUNTS)
    assert _digests(tmp_path) == _digests(made)


def test_processes_give_the_same_bytes_as_one(files, made, tmp_path):
    beam.run(files, OPTIONS, tmp_path, COUNTS, workers=2)
    assert _digests(tmp_path) == _digests(made)


def test_a_run_without_a_reject_has_an_empty_list(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "good"}\n')
    files = readers.inputs("text", [str(tmp_path / "t.jsonl")])
    beam.run(files, Options(), tmp_path / "made", {"text": 1})
    assert (tmp_path / "made" / beam.REJECTS).read_text() == ""

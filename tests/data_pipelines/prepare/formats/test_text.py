"""Texts are divided as asked, alike from every part of a file and every packing."""

import gzip
import json
import pathlib
import tempfile

import format_files
import hypothesis
import pytest
import zstandard
from hypothesis import strategies

from data_pipelines.prepare.formats import text_splits
from data_pipelines.prepare.formats.base import Settings

WIKI = b"\n = One = \n\n text of one\n\n = = Part = = \n\n more\n = Two = \n\n two\n"
SPEECH = b"A:\nhello\n\n\nB:\nbye\n"


def _read(path, data: bytes, text_split="auto"):
    path.write_bytes(data)
    settings = Settings(text_split=text_split)
    raws, rejects = format_files.read(path, "text", settings)
    return [(r.number, r.documents[0][0].text) for r in raws], rejects


def test_a_text_with_headings_splits_into_articles(tmp_path):
    texts, _ = _read(tmp_path / "a.txt", WIKI)
    assert [number for number, _ in texts] == [2, 9]
    assert texts[1][1] == " = Two = \n\n two"
    assert "more" in texts[0][1]


def test_a_text_without_headings_splits_into_passages_that_lose_nothing(tmp_path):
    data = b"".join(b"paragraph %d %s\n\n" % (i, b"x" * 300) for i in range(50))
    texts, _ = _read(tmp_path / "a.txt", data)
    assert 5 < len(texts) < 10
    assert all(len(text) >= text_splits.PASSAGE for _, text in texts[:-1])
    assert "\n\n".join(text for _, text in texts).encode() == data[:-2]


@pytest.mark.parametrize(
    ("split", "count"), [("file", 1), ("blank_line", 2), ("passage", 1)]
)
def test_what_a_document_is_can_be_chosen(tmp_path, split, count):
    texts, _ = _read(tmp_path / "a.txt", SPEECH, split)
    assert len(texts) == count
    assert texts[0][1].startswith("A:\nhello")


def test_a_split_that_nobody_knows_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"text_split 'page': must be one of auto"):
        _read(tmp_path / "a.txt", SPEECH, "page")


def test_windows_lines_and_bytes_that_are_not_utf8(tmp_path):
    texts, rejects = _read(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\ncaf\xe9\r\ntwo\r\n")
    assert texts == [(1, "one\n\ntwo")]
    assert format_files.reasons(rejects) == [(2, "not_utf8", "line")]


def test_json_texts_keep_their_spaces_and_newlines(tmp_path):
    records = [{"text": "\n  a\n\tb \n", "meta": {"set": "wiki"}, "url": "u"}]
    path = format_files.as_lines(tmp_path / "a.jsonl", records)
    (raw,), _ = format_files.read(path, "text")
    assert raw.documents[0][0].text == "  a\n\tb "
    assert (raw.meta, raw.url) == ({"meta": {"set": "wiki"}}, "u")
    path = format_files.as_lines(tmp_path / "b.jsonl", [{"content": "code"}])
    (raw,), _ = format_files.read(path, "text", Settings(text_key="content"))
    assert raw.documents[0][0].text == "code"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"text": None}, "missing_field"),
        ({"text": " \n "}, "empty_text"),
        ({"text": "a\udc80"}, "not_utf8"),
    ],
)
def test_bad_json_texts_are_left_out(tmp_path, record, reason):
    path = format_files.as_lines(tmp_path / "a.jsonl", [record])
    raws, rejects = format_files.read(path, "text")
    assert not raws
    assert format_files.reasons(rejects) == [(1, reason, "record")]


ROWS = strategies.lists(
    strategies.sampled_from(
        ["", "", " ", "a paragraph", "b" * 30, " = Title = ", " = = Part = = ", "\xe9"]
    ),
    max_size=30,
)


@hypothesis.given(
    ROWS,
    strategies.sampled_from(text_splits.CHOICES),
    strategies.integers(1, 80),
    strategies.integers(1, 90),
)
def test_any_division_gives_the_same_documents(rows, split, size, grid):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(text_splits, "PASSAGE", 40)
        patch.setattr(text_splits, "GRID", grid)
        path = pathlib.Path(folder, "a.txt")
        # Half of an e with an accent is not UTF-8.
        data = "\n".join(rows).encode().replace(b"\xc3\xa9", b"\xc3")
        path.write_bytes(data)
        settings = Settings(text_split=split)
        whole = format_files.parted(format_files.found(path, "text", settings))
        parts = format_files.divided(path, "text", size, settings)
        assert format_files.parted(parts) == whole
    text = b"\n".join(d.text.encode() for raw in whole[0] for (d,) in raw.documents)
    said = [line for line in data.split(b"\n") if line.strip() and line != b"\xc3"]
    assert [line for line in text.split(b"\n") if line.strip()] == said


@pytest.mark.parametrize("split", ["auto", "blank_line", "passage", "file"])
@pytest.mark.parametrize("name", ["wikitext2_valid.txt", "tinyshakespeare.txt"])
def test_real_texts_are_the_same_in_parts_and_packed(real_data, tmp_path, name, split):
    settings = Settings(text_split=split)
    path = real_data / "text" / name
    whole = format_files.found(path, "text", settings)
    assert format_files.divided(path, "text", 400_000, settings) == whole
    text = "\n".join(raw.documents[0][0].text for raw in whole)
    assert "".join(text.split()) == "".join(path.read_text(encoding="utf-8").split())
    for suffix, pack in ((".gz", gzip.compress), (".zst", zstandard.compress)):
        packed = tmp_path / (name + suffix)
        packed.write_bytes(pack(path.read_bytes()))
        found = format_files.found(packed, "text", settings)
        assert [r._replace(file=str(path), folder="pictures") for r in found] == whole


def test_a_cut_file_of_json_texts_tells_its_loss(tmp_path):
    lines = b"".join(
        json.dumps({"text": str(n)}).encode() + b"\n" for n in range(99_999)
    )
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(lines)[:-1000])
    raws, rejects = format_files.read(path, "text")
    assert len(raws) > 50_000
    assert [r.reason for r in rejects][-1] == "broken_file"

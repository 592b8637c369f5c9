"""Files become lines; what can't be read is noted where it stands."""

import pytest

from data_pipelines.prepare import readers
from data_pipelines.prepare.own import Line, Reject
from data_pipelines.prepare.readers import Input


def _read(path, data: bytes, corpus="text", text_split="auto"):
    path.write_bytes(data)
    found = list(readers.lines(Input(corpus, str(path), "images"), text_split))
    lines = [(f.number, f.data) for f in found if isinstance(f, Line)]
    rejects = [(f.line, f.reason) for f in found if isinstance(f, Reject)]
    return lines, rejects


def test_json_lines_keep_their_numbers_and_blank_ones_vanish(tmp_path):
    lines, _ = _read(tmp_path / "a.jsonl", b"\xef\xbb\xbf{}\n\n  \n[1]\r\n{")
    assert lines == [(1, b"{}\n"), (4, b"[1]\r\n"), (5, b"{")]


def test_a_csv_may_quote_commas_and_line_ends(tmp_path):
    data = b'\xef\xbb\xbfcaption,image\n"a, ""b""\nc",1.jpg\nd,2.jpg\n'
    lines, rejects = _read(tmp_path / "a.csv", data, "captions")
    assert lines == [
        (3, {"caption": 'a, "b"\nc', "image": "1.jpg"}),
        (4, {"caption": "d", "image": "2.jpg"}),
    ]
    assert not rejects


def test_quotation_marks_of_a_tsv_are_text(tmp_path):
    data = b'image\tcaption\n1.jpg\t"so, he said\n2.jpg\tb"\n'
    lines, _ = _read(tmp_path / "a.tsv", data, "captions")
    captions = [fields["caption"] for _, fields in lines]
    assert captions == ['"so, he said', 'b"']


def test_bad_rows_of_a_table_are_rejected_alone(tmp_path):
    data = b"image,caption\n1.jpg\n2.jpg,caf\xe9\n\n3.jpg,ok\n4.jpg,a,b\n"
    lines, rejects = _read(tmp_path / "a.csv", data, "captions")
    assert [fields["image"] for _, fields in lines] == ["3.jpg"]
    assert sorted(rejects) == [(2, "malformed_row"), (3, "not_utf8"),
                               (6, "malformed_row")]  # fmt: skip


WIKI = b"\n = One = \n\n text of one\n\n = = Part = = \n\n more\n = Two = \n\n two\n"
SPEECH = b"A:\nhello\n\n\nB:\nbye\n"


def test_a_text_with_headings_splits_into_articles(tmp_path):
    lines, _ = _read(tmp_path / "a.txt", WIKI)
    assert [number for number, _ in lines] == [2, 9]
    assert lines[1][1] == " = Two = \n\n two"
    assert "more" in lines[0][1]


def test_a_text_without_headings_splits_into_passages_that_lose_nothing(tmp_path):
    data = b"".join(b"paragraph %d %s\n\n" % (i, b"x" * 300) for i in range(50))
    lines, _ = _read(tmp_path / "a.txt", data)
    assert 5 < len(lines) < 10
    assert all(len(text) >= readers.PASSAGE for _, text in lines[:-1])
    assert "\n".join(text for _, text in lines).encode() == data[:-1]


@pytest.mark.parametrize(
    ("split", "count"), [("file", 1), ("blank_line", 2), ("passage", 1)]
)
def test_what_a_document_is_can_be_chosen(tmp_path, split, count):
    lines, _ = _read(tmp_path / "a.txt", SPEECH, text_split=split)
    assert len(lines) == count
    assert lines[0][1].startswith("A:\nhello")


def test_windows_lines_and_bytes_that_are_not_utf8(tmp_path):
    lines, rejects = _read(tmp_path / "a.txt", b"one\r\ncaf\xe9\r\ntwo\r\n")
    assert lines == [(1, "one\n\ntwo")]
    assert rejects == [(2, "not_utf8")]


def test_paths_patterns_and_folders_name_files(tmp_path):
    for name in ("a.txt", "b.txt", "c.jsonl", "d.jpg"):
        (tmp_path / name).write_text("x")
    names = [
        [f.file.rsplit("/", 1)[1] for f in readers.inputs("text", [pattern])]
        for pattern in (str(tmp_path), str(tmp_path / "*.txt"), str(tmp_path / "a.txt"))
    ]
    assert names == [["a.txt", "b.txt", "c.jsonl"], ["a.txt", "b.txt"], ["a.txt"]]
    both = readers.inputs("text", [str(tmp_path / "a.txt"), str(tmp_path / "*.txt")])
    assert len(both) == 2
    assert both[0].images == str(tmp_path)


def test_what_leads_to_nothing_is_one_clear_error(tmp_path):
    (tmp_path / "a.parquet").write_text("x")
    (tmp_path / "a.csv").write_text("picture,text\n")
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"absent.jsonl: no such file of captions"):
        readers.inputs("captions", [str(tmp_path / "absent.jsonl")])
    with pytest.raises(ValueError, match=r"a.parquet: captions must be .jsonl or"):
        readers.inputs("captions", [str(tmp_path / "a.parquet")])
    with pytest.raises(ValueError, match=r"header .* must name image and caption"):
        readers.inputs("captions", [str(tmp_path / "a.csv")])
    with pytest.raises(ValueError, match=r"nowhere: no such folder of images"):
        readers.inputs("captions", [str(tmp_path / "a.jsonl")], "nowhere")

"""Rows of CSV and TSV files are captions; bad rows are lost alone."""

import gzip
import json

import format_files
import pytest

from data_pipelines.prepare.formats.base import Settings


def _read(path, data: bytes, settings=None):
    path.write_bytes(data)
    raws, rejects = format_files.read(path, "table", settings)
    rows = [(raw.number, *format_files.shown(raw.documents[0])) for raw in raws]
    return rows, format_files.reasons(rejects)


def test_a_csv_may_quote_commas_and_line_ends(tmp_path):
    data = b'\xef\xbb\xbfcaption,image\n"a, ""b""\nc",1.jpg\nd,2.jpg\n'
    rows, rejects = _read(tmp_path / "a.csv", data)
    assert rows == [(3, "<1.jpg>", 'a, "b"\nc'), (4, "<2.jpg>", "d")]
    assert not rejects


def test_quotation_marks_of_a_tsv_are_text(tmp_path):
    data = b'image\tcaption\n1.jpg\t"so, he said\n2.jpg\tb"\n'
    rows, _ = _read(tmp_path / "a.tsv", data)
    assert [row[2] for row in rows] == ['"so, he said', 'b"']


def test_bad_rows_of_a_table_are_rejected_alone(tmp_path):
    data = b"image,caption\n1.jpg\n2.jpg,caf\xe9\n\n3.jpg,ok\n4.jpg,a,b\n5.jpg, \n,c\n"
    rows, rejects = _read(tmp_path / "a.csv", data)
    assert rows == [(5, "<3.jpg>", "ok")]
    assert sorted(rejects) == [
        (2, "malformed_row", "record"),
        (3, "not_utf8", "record"),
        (6, "malformed_row", "record"),
        (7, "empty_caption", "caption"),
        (8, "missing_field", "record"),
    ]


def test_open_clips_names_and_chosen_names(tmp_path):
    data = b"filepath\ttitle\talt\n1.jpg\tone\tother\n"
    assert _read(tmp_path / "a.tsv", data)[0] == [(2, "<1.jpg>", "one")]
    chosen = Settings(text_key="alt")
    assert _read(tmp_path / "a.tsv", data, chosen)[0] == [(2, "<1.jpg>", "other")]


def test_other_columns_can_be_filtered_by(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("image,caption,similarity\n1.jpg,one,0.3\n")
    ((raw,), _) = format_files.read(path, "table")
    assert raw.scores == {"similarity": "0.3"}


@pytest.mark.parametrize("data", [b"picture,text\n", b"", b"\xff,caption\n"])
def test_a_table_without_its_columns_is_an_error(tmp_path, data):
    with pytest.raises(ValueError, match=r"a.csv: .*header"):
        _read(tmp_path / "a.csv", data)


def test_real_captions_as_tables_give_the_same_however_divided(real_data, tmp_path):
    source = real_data / "captions" / "flickr8k_1000" / "captions.jsonl"
    records = [json.loads(line) for line in source.open()]
    pairs = [(r["image"], c.strip()) for r in records for c in r["captions"]]
    rows = ["image\tcaption", *("\t".join(pair) for pair in pairs)]
    path = tmp_path / "a.tsv"
    path.write_text("\n".join(rows) + "\n")
    whole = format_files.found(path, "table")
    shown = [format_files.shown(raw.documents[0]) for raw in whole]
    assert shown == [[f"<{image}>", caption] for image, caption in pairs]
    for size in (1, 5_000):
        assert format_files.divided(path, "table", size) == whole
    packed = tmp_path / "b.tsv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    raws, _ = format_files.read(packed, "table")
    assert [raw._replace(file=str(path)) for raw in raws] == whole

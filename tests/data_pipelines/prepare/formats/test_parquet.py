"""Parquet files are read a few rows at a time, and give the same however divided."""

import importlib
import itertools

import divided
import pytest

from data_pipelines.prepare.formats import parquet, text_parquet
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.raw import Raw, Reject, Unit

pa = pytest.importorskip("pyarrow")
pq = importlib.import_module("pyarrow.parquet")


def _file(path, count=23, rows=5, **columns):
    texts = [f"text {i}" for i in range(count)]
    pq.write_table(pa.table({"text": texts, **columns}), path, row_group_size=rows)
    return path


@pytest.mark.parametrize("least", [1, 6, 11, 100])
def test_units_are_whole_row_groups_that_cover_the_file(tmp_path, least):
    path = _file(tmp_path / "a.parquet")
    units = list(parquet.units(path, "", "text_parquet", least_rows=least))
    assert [u.start for u in units] == [0, *[u.stop for u in units[:-1]]]
    assert units[-1].stop == 23
    assert all(u.start % 5 == 0 and u.first == u.start + 1 for u in units)


def test_large_row_groups_are_units_of_their_own(tmp_path):
    path = _file(tmp_path / "a.parquet")
    units = list(parquet.units(path, "", "text_parquet", least_bytes=1))
    assert [(u.start, u.stop) for u in units] == [
        (0, 5), (5, 10), (10, 15), (15, 20), (20, 23)
    ]  # fmt: skip


@pytest.mark.parametrize("cuts", [[], [5], [3, 4, 17], list(range(1, 23))])
def test_any_division_gives_the_same_rows_in_the_same_order(
    tmp_path, cuts, monkeypatch
):
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 2)
    path = _file(tmp_path / "a.parquet")
    edges = [0, *cuts, 23]
    units = [
        Unit(str(path), "text_parquet", "", a, b, a + 1)
        for a, b in itertools.pairwise(edges)
    ]
    raws = divided.of_units(text_parquet.FORMAT, units)
    assert [r.number for r in raws] == list(range(1, 24))
    texts = [r.documents[0][0].text for r in raws if isinstance(r, Raw)]
    assert texts == [f"text {i}" for i in range(23)]


def test_a_file_that_is_cut_off_or_none_is_named(tmp_path):
    path = _file(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"a\.parquet: not a whole parquet file"):
        text_parquet.FORMAT.sniff(path)


def test_a_damaged_row_group_is_rejected_and_the_next_ones_are_read(tmp_path):
    path = tmp_path / "a.parquet"
    texts = [f"{i} " + "x" * 50 for i in range(30)]
    table = pa.table({"text": texts})
    pq.write_table(table, path, row_group_size=10, use_dictionary=False)
    with pq.ParquetFile(path) as file:
        start = file.metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 60] = b"\xff" * 60
    path.write_bytes(data)
    raws, rejects = divided.of_file(text_parquet.FORMAT, path)
    assert [r.number for r in raws] == [*range(1, 11), *range(21, 31)]
    assert [(r.number, r.reason) for r in rejects] == [(11, "broken_file")]


def test_a_row_that_is_not_utf8_is_rejected_alone(tmp_path):
    path = tmp_path / "a.parquet"
    raw = pa.array([b"one", b"caf\xe9", b"two"], pa.binary())
    broken = pa.StringArray.from_buffers(3, *raw.buffers()[1:])
    pq.write_table(pa.table({"text": broken}), path)
    raws, rejects = divided.of_file(text_parquet.FORMAT, path)
    assert [r.number for r in raws] == [1, 3]
    assert [(r.number, r.reason) for r in rejects] == [(2, "not_utf8")]


def test_memory_holds_a_few_pictures_not_a_row_group(tmp_path):
    path, count = tmp_path / "a.parquet", 64
    images = [bytes([i]) * 2**19 for i in range(count)]  # 32 MB in one row group
    texts = ["t"] * count
    pq.write_table(
        pa.table({"image": images, "text": texts}), path, compression="none",
        use_dictionary=False, data_page_size=2**19,
        write_batch_size=1,
    )  # fmt: skip
    del images
    unit = next(parquet.units(path, "", "x"))
    before, peak = pa.total_allocated_bytes(), 0
    for row in parquet.rows(unit):
        assert not isinstance(row, Reject)
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < 16 * 2**20


def test_texts_keep_what_else_a_row_says(tmp_path):
    path = _file(
        tmp_path / "a.parquet", 2, url=["http://a", None], dump=["x", "y"],
        score=[0.5, 1.0],
    )  # fmt: skip
    (first, second), _ = divided.of_file(text_parquet.FORMAT, path)
    assert (first.url, second.url) == ("http://a", "")
    assert first.scores == {"dump": "x", "score": 0.5}


def test_empty_texts_are_rejected_and_unknown_columns_are_errors(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", " \n", None]}), path)
    raws, rejects = divided.of_file(text_parquet.FORMAT, path)
    assert len(raws) == 1
    assert [r.reason for r in rejects] == ["empty_text", "missing_field"]
    with pytest.raises(ValueError, match="no column 'body', has"):
        divided.of_file(text_parquet.FORMAT, path, Settings(text_key="body"))


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    path = _file(tmp_path / "a.parquet")

    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"pip install 'mmjax\[prepare\]'"):
        text_parquet.FORMAT.sniff(path)

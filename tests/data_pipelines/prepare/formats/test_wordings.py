"""Captions of every format may come with another wording beside them."""

import importlib
import io
import json

import format_files
import PIL.Image
import pytest
import tar_files

from data_pipelines import records
from data_pipelines.prepare import convert
from data_pipelines.prepare.formats import registry, wordings
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.recipe import Recipe
from data_pipelines.records import Text

pa = pytest.importorskip("pyarrow")
pq = importlib.import_module("pyarrow.parquet")

ROW = {"image": "1.jpg", "caption": "a dog", "synthetic": " A brown dog runs. "}


def _photo():
    file = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), (9, 90, 9)).save(file, "JPEG")
    return file.getvalue()


def _texts(raws):
    return [part for raw in raws for document in raw.documents
            for part in document if isinstance(part, Text)]  # fmt: skip


def _lines(folder, row):
    return format_files.as_lines(folder / "a.jsonl", [row])


def _csv(folder, row):
    (folder / "a.csv").write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    return folder / "a.csv"


def _parquet(folder, row):
    rows = [row | {"image": {"bytes": _photo(), "path": "1.jpg"}}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    return folder / "a.parquet"


def _urls(folder, row):
    left = {name: value for name, value in row.items() if name != "image"}
    rows = [left | {"url": "http://x/1.jpg", "key": "1"}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    return folder / "a.parquet"


def _tar(folder, row):
    left = {name: value for name, value in row.items() if name != "image"}
    members = [("1.jpg", _photo()), ("1.json", json.dumps(left).encode())]
    return tar_files.write(folder / "a.tar", members)


FORMATS = {
    "captions": _lines,
    "table": _csv,
    "captions_parquet": _parquet,
    "url_parquet": _urls,
    "webdataset": _tar,
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("key", [*wordings.KEYS, "better"])
def test_a_wording_is_carried_beside_its_caption(tmp_path, name, key):
    (tmp_path / "1.jpg").write_bytes(_photo())
    row = {key if old == "synthetic" else old: value for old, value in ROW.items()}
    path = FORMATS[name](tmp_path, row)
    settings = Settings(synthetic_key="better" if key == "better" else "")
    form = registry.FORMATS[name]
    units = form.units(path, str(tmp_path))
    raws, rejects = format_files.parted(
        one for unit in units for one in form.read(unit, settings)
    )
    assert _texts(raws) == [Text("a dog", synthetic="A brown dog runs.")]
    assert not rejects
    assert key not in raws[0].meta
    assert registry.sniff(path, "captions") == name


def _read(tmp_path, row, **settings):
    path = _lines(tmp_path, row)
    return format_files.read(path, "captions", Settings(**settings))


def test_a_text_goes_with_every_caption_and_a_list_with_its_own(tmp_path):
    row = {"image": "1.jpg", "captions": ["a", "b"], "synthetic": "c"}
    raws, _ = _read(tmp_path, row)
    assert _texts(raws) == [Text("a", synthetic="c"), Text("b", synthetic="c")]
    raws, _ = _read(tmp_path, row | {"synthetic": [None, " d "]})
    assert _texts(raws) == [Text("a"), Text("b", synthetic="d")]


@pytest.mark.parametrize("empty", ["", " ", None, []])
def test_an_empty_wording_is_none(tmp_path, empty):
    raws, rejects = _read(tmp_path, ROW | {"synthetic": empty})
    assert _texts(raws) == [Text("a dog")]
    assert not rejects


@pytest.mark.parametrize("bad", [["x", "y"], 3, ["x", 3], {"a": 1}, "\ud800"])
def test_a_wording_that_cant_be_used_costs_no_caption(tmp_path, bad):
    raws, (reject,) = _read(
        tmp_path, ROW | {"synthetic": bad}, synthetic_key="synthetic"
    )
    assert _texts(raws) == [Text("a dog")]
    assert reject.lost == "wording"
    assert reject.reason == ("not_utf8" if bad == "\ud800" else "bad_synthetic")


def test_a_mark_that_a_caption_is_synthetic_is_no_wording(tmp_path):
    raws, rejects = _read(tmp_path, ROW | {"synthetic": True})
    assert _texts(raws) == [Text("a dog")]
    assert raws[0].meta["synthetic"] is True
    assert not rejects


def test_an_empty_caption_leaves_the_others_their_wordings(tmp_path):
    row = {"image": "1.jpg", "captions": ["a", "", "b"], "synthetic": ["x", "y", "z"]}
    raws, rejects = _read(tmp_path, row)
    assert _texts(raws) == [Text("a", synthetic="x"), Text("b", synthetic="z")]
    assert format_files.reasons(rejects) == [(1, "empty_caption", "caption")]


def test_a_record_holds_both_wordings(tmp_path):
    (tmp_path / "1.jpg").write_bytes(_photo())
    raws, _ = _read(tmp_path, ROW)
    raw = raws[0]._replace(folder=str(tmp_path))
    (kept,) = convert.documents(raw, "captions", Recipe())
    assert isinstance(kept, convert.Kept)
    expected = Text("a dog", synthetic="A brown dog runs.")
    assert records.decode(kept.record).segments[1] == expected

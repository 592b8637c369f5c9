"""Every file is of one format only among those of its corpus."""

import base64
import importlib
import json

import pytest
from tar_files import write

from data_pipelines.prepare.formats import registry

pa = pytest.importorskip("pyarrow")
pq = importlib.import_module("pyarrow.parquet")

SAID = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
IMAGE = {"bytes": b"x", "path": None}
ROWS = {
    "captions_parquet": {"image": IMAGE, "caption": "a", "url": "u", "width": 1},
    "url_parquet": {"URL": "u", "TEXT": "a", "WIDTH": 1, "similarity": 0.1},
    "interleaved_parquet": {"texts": ["a", None], "images": [None, "u"]},
    "text_parquet": {"text": "a", "url": "u", "id": "1", "dump": "d"},
    "cauldron": {"images": [IMAGE], "texts": [{"user": "a", "assistant": "b"}]},
    "chat_parquet": {"image": IMAGE, "conversations": SAID, "id": "1"},
}
PAGE = {
    "text_list": ["a"],
    "image_info": [{"image_base64": base64.b64encode(b"x").decode(),
                    "matched_text_index": 0}],
}  # fmt: skip
MEMBERS = {
    "webdataset": [("0.jpg", b"x"), ("0.txt", b"a"), ("0.json", b'{"caption": "a"}')],
    "chat_tars": [("0.jpg", b"x"), ("0.json", json.dumps(SAID).encode())],
    "mmc4_tars": [("0.json", json.dumps(PAGE).encode())],
}


@pytest.mark.parametrize("name", ROWS)
def test_parquet(tmp_path, name):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([ROWS[name]]), path)
    assert registry.sniff(path) == name


def test_messages_in_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([{"messages": CHAT, "images": [IMAGE]}]), path)
    assert registry.sniff(path) == "chat_parquet"


@pytest.mark.parametrize("name", MEMBERS)
def test_tars(tmp_path, name):
    assert registry.sniff(write(tmp_path / "a.tar", MEMBERS[name])) == name


def test_folders_and_lists(tmp_path):
    folder = tmp_path / "cc3m"
    write(folder / "0.tar", MEMBERS["webdataset"])
    (folder / ".nv-meta").mkdir()
    assert registry.sniff(folder) == "energon"
    listed = tmp_path / "wids-meta.json"
    listed.write_text(json.dumps({"shardlist": [{"url": "cc3m/0.tar"}]}))
    assert registry.sniff(listed) == "energon"
    blend = tmp_path / "blend.yaml"
    blend.write_text("splits: {train: {datasets: [{weight: 1, path: cc3m}]}}")
    assert registry.sniff(blend) == "energon"


def test_a_unit_names_the_format_that_reads_it(tmp_path):
    for name, row in ROWS.items():
        if name != "url_parquet":
            path = tmp_path / f"{name}.parquet"
            pq.write_table(pa.Table.from_pylist([row]), path)
            assert next(registry.FORMATS[name].units(path, "")).format == name
    for name, members in MEMBERS.items():
        path = write(tmp_path / f"{name}.tar", members)
        assert next(registry.FORMATS[name].units(path, "")).format == name

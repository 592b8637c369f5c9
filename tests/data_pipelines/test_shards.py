"""Shards: same documents, same bytes; every damage is one clear line."""

import concurrent.futures
import json
import pickle

import pytest

from data_pipelines import records, shard_reader, shards
from data_pipelines.records import Document, Image, Text
from data_pipelines.shard_reader import ShardReader


def make_documents(count=60):
    """Documents of 3 kinds, each with an image of about 1 kB."""
    return [
        Document(
            (Image(bytes([i]) * 1000 + b"end", 3, 4), Text(f"picture {i}")),
            kind=f"kind{i % 3}",
            licence="CC0",
        )
        for i in range(count)
    ]


def contents(directory):
    """All files of a folder, as bytes."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_order_of_arrival_changes_no_byte(tmp_path):
    documents = make_documents()
    shards.write(tmp_path / "a", documents, 3, {"note": 1})
    shards.write(tmp_path / "b", reversed(documents), 3, {"note": 1})
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_equal_content_is_kept_once_and_counted(tmp_path):
    documents = make_documents()
    relabelled = [d._replace(kind="other") for d in documents[:7]]
    manifest = shards.write(tmp_path / "a", documents + relabelled, 3)
    again = shards.write(tmp_path / "b", relabelled + documents, 3)
    assert manifest == again
    assert (manifest["records"], manifest["duplicates"]) == (60, 7)


def test_every_document_is_read_back_sorted_by_id(tmp_path):
    documents = make_documents()
    shards.write(tmp_path, documents, 4)
    reader = ShardReader(tmp_path)
    found = [reader.document(i) for i in range(len(reader))]
    assert set(map(records.encode, found)) == set(map(records.encode, documents))
    by_file = {}
    for i, document in enumerate(found):
        path, inside = reader.place(i)
        keys = by_file.setdefault(path.name, [])
        assert inside == len(keys)
        keys.append(records.document_id(document))
        assert path.name == shards.shard_name(shards.shard_of(keys[-1], 4), 4)
    assert all(keys == sorted(keys) for keys in by_file.values())
    with pytest.raises(IndexError, match="record 60 of 60"):
        reader.read(60)


def test_the_manifest_counts(tmp_path):
    manifest = shards.write(tmp_path, make_documents(), 3, {"seed": 7})
    assert json.loads((tmp_path / shards.MANIFEST).read_text()) == manifest
    assert manifest["kinds"] == {"kind0": 20, "kind1": 20, "kind2": 20}
    assert manifest["licences"] == {"CC0": 60}
    assert (manifest["images"], manifest["extra"]) == (60, {"seed": 7})
    assert manifest["characters"] == sum(len(f"picture {i}") for i in range(60))
    assert sum(info["records"] for info in manifest["shards"]) == 60


def test_shards_may_be_empty(tmp_path):
    shards.write(tmp_path, make_documents(2), 8)
    reader = pickle.loads(pickle.dumps(ShardReader(tmp_path)))
    assert {reader.document(i).segments[1].text for i in range(2)} == {
        "picture 0",
        "picture 1",
    }


def test_threads_read_through_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_reader, "_OPEN_FILES", 2)
    shards.write(tmp_path, make_documents(), 7)
    reader = ShardReader(tmp_path)
    expected = [reader.read(i) for i in range(60)]
    order = [i * 37 % 60 for i in range(1200)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(reader.read, order))
    assert found == [expected[i] for i in order]


def test_missing_things_are_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        ShardReader(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no manifest\.json"):
        ShardReader(tmp_path)
    shards.write(tmp_path, make_documents(), 2)
    (tmp_path / shards.shard_name(1, 2)).unlink()
    with pytest.raises(ValueError, match=r"shard-00001-of-00002.*missing"):
        ShardReader(tmp_path)
    (tmp_path / shards.MANIFEST).write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json: not a manifest"):
        ShardReader(tmp_path)
    (tmp_path / shards.MANIFEST).write_text('{"format": 9}')
    with pytest.raises(ValueError, match="format 9: this program reads 1"):
        ShardReader(tmp_path)


def test_a_truncated_shard_is_one_clear_line(tmp_path):
    shards.write(tmp_path, make_documents(), 2)
    path = tmp_path / shards.shard_name(0, 2)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(ValueError, match=r"shard-00000.*50000 bytes.*truncated") as e:
        ShardReader(tmp_path)
    assert "\n" not in str(e.value)


def test_damaged_bytes_are_named_with_their_record(tmp_path):
    shards.write(tmp_path, make_documents(), 1)
    path = tmp_path / shards.shard_name(0, 1)
    reader = ShardReader(tmp_path)
    victim = reader.read(31)
    data = bytearray(path.read_bytes())
    data[data.index(victim) + 500] ^= 255
    path.write_bytes(data)
    reader = ShardReader(tmp_path)
    assert reader.read(30)
    with pytest.raises(ValueError, match=r"shard-00000.*record 31 is corrupt"):
        reader.read(31)


def test_a_record_that_is_no_document_is_named(tmp_path, monkeypatch):
    shards.write(tmp_path, make_documents(), 1)
    monkeypatch.setattr(records, "VERSION", 2)
    with pytest.raises(ValueError, match=r"shard-00000.*record 5: record version is 1"):
        ShardReader(tmp_path).document(5)


def test_one_shard_at_least(tmp_path):
    with pytest.raises(ValueError, match="shards=0: must be positive"):
        shards.write(tmp_path, [], 0)

"""Paths: local ones are pathlib's, those of stores go through etils and fsspec."""

import pathlib
import pickle
import sys

import numpy as np
import pytest

from data_pipelines import index, paths, pipeline, shard_files, shards, tokenizer
from data_pipelines.shard_reader import ShardReader


@pytest.fixture
def bucket(world, monkeypatch):
    """gs://bucket/ is the world's folder, through epath and an fsspec file system."""
    pytest.importorskip("fsspec")
    from etils.epath import backend
    from fsspec.implementations.local import LocalFileSystem

    class Bucket(LocalFileSystem):
        protocol = ("gs", "gcs")

        def __init__(self, finalize_on_close=False, **kwargs):
            super().__init__(**kwargs)

        @classmethod
        def _strip_protocol(cls, path):
            text = str(path).removeprefix("gs://")
            return text.replace("bucket", world.root, 1)

    registry = sys.modules["fsspec.registry"]
    monkeypatch.setitem(registry._registry, "gcs", Bucket)
    monkeypatch.setitem(paths.PACKAGES, "gs", "fsspec")
    backend.fsspec_backend._get_filesystem.cache_clear()
    yield "gs://bucket"
    backend.fsspec_backend._get_filesystem.cache_clear()


def test_local_paths_are_pathlibs_own(tmp_path):
    assert paths.of(str(tmp_path)) == tmp_path
    assert type(paths.of(tmp_path)) is type(tmp_path)
    assert (paths.scheme("/a/b"), paths.scheme("gs://b/c")) == ("", "gs")
    (tmp_path / "x").write_bytes(b"abc")
    assert paths.size(tmp_path / "x") == 3
    with paths.open_binary(tmp_path / "x") as file:
        assert file.read() == b"abc"


def test_manifest_tokenizer_and_index_of_a_bucket_are_those_of_the_folder(
    world, bucket
):
    folder = f"{bucket}/captions/train"
    assert shards.read_manifest(folder) == shards.read_manifest(
        f"{world.root}/captions/train"
    )
    words = tokenizer.open(tokenizer.in_folder(bucket))
    assert words.digest == world.tokenizer.digest
    model = world.config().model
    found = index.load(folder, words, model)
    expected = index.load(f"{world.root}/captions/train", words, model)
    assert found.digest == expected.digest
    np.testing.assert_array_equal(found.segment_tokens, expected.segment_tokens)
    name = shards.read_manifest(folder)["shards"][0]
    assert paths.size(paths.of(folder) / name["file"]) == name["bytes"]


def test_what_is_wrong_in_a_bucket_is_said_as_of_a_folder(world, bucket):
    for name, message in (
        (f"{bucket}/nowhere", "gs://bucket/nowhere: no such folder of shards"),
        (f"{bucket}/captions", r"gs://bucket/captions: no manifest\.json"),
    ):
        with pytest.raises(ValueError, match=message):
            shards.read_manifest(name)
    with pytest.raises(ValueError, match=r"gs://bucket/x\.model: No such file"):
        tokenizer.open(f"{bucket}/x.model")


def test_files_of_shards_are_checked_in_a_bucket(world, bucket, monkeypatch):
    """All but array_record's own opening, which goes to Google."""
    monkeypatch.setattr(shard_files, "open_shard", lambda path: None)
    folder = f"{bucket}/captions/train"
    reader = pickle.loads(pickle.dumps(ShardReader(folder)))
    assert str(reader.place(0)[0]).startswith(f"{folder}/shard-00000")
    manifest = shards.read_manifest(folder)
    manifest["shards"][1]["bytes"] += 1
    monkeypatch.setattr(shards, "read_manifest", lambda directory: manifest)
    with pytest.raises(ValueError, match=r"gs://.*shard-00001.*truncated"):
        ShardReader(folder)


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("gs://b/data", r"gs://b/data: needs no_such_package, `pip install no_such"),
        ("ftp://b/data", r"ftp://b/data: only local paths, gs://, s3:// can be read"),
    ],
)
def test_a_path_that_cannot_be_read_is_one_line(world, root, message, monkeypatch):
    monkeypatch.setitem(paths.PACKAGES, "gs", "no_such_package")
    with pytest.raises(ValueError, match=message) as error:
        pipeline.open(world.config(root=root))
    assert "\n" not in str(error.value)


def test_shards_come_from_where_array_record_can_read():
    with pytest.raises(ValueError, match=r"s3://b/x: shards are read from local paths"):
        ShardReader("s3://b/x")
    paths.require_shards("gs://b/x")
    paths.require_shards(pathlib.Path("x"))

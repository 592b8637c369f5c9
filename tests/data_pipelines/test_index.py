"""The index: exact counts, beside the shards of one tokenizer, any model."""

import shutil

import numpy as np
import pytest

from data_pipelines import index, shards, tokenizer
from data_pipelines.records import Document, Image, Text
from data_pipelines.shard_reader import ShardReader


@pytest.fixture
def folder(world, tmp_path):
    """A copy of the interleaved corpus."""
    return shutil.copytree(world.root + "/interleaved/train", tmp_path / "copy")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / "other.model"
    return tokenizer.train(["other words altogether"], path, 300)


def test_columns_are_those_of_the_records(world):
    model = world.config().model
    for name in ("captions/train", "interleaved/train", "text/heldout"):
        reader = ShardReader(f"{world.root}/{name}")
        columns = index.load(reader.directory, world.tokenizer, model)
        assert len(columns.kind) == len(reader) == len(columns.segment_start) - 1
        for number in range(len(reader)):
            document = reader.document(number)
            assert columns.kinds[columns.kind[number]] == document.kind
            own = slice(*columns.segment_start[number : number + 2])
            expected = [
                (4, True, 1, False)
                if isinstance(s, Image)
                else (len(world.tokenizer.encode(s.text)), False, 0, s.loss)
                for s in document.segments
            ]
            found = zip(
                columns.segment_tokens[own],
                columns.segment_image[own],
                columns.segment_slots[own],
                columns.segment_loss[own],
            )
            assert list(found) == expected


def test_types_are_the_plans(world):
    columns = index.load(
        f"{world.root}/captions/train", world.tokenizer, world.config().model
    )
    types = {
        "segment_start": np.int64,
        "segment_tokens": np.int32,
        "segment_image": np.bool_,
        "segment_slots": np.int16,
        "segment_loss": np.bool_,
        "kind": np.uint8,
    }
    for name, expected in types.items():
        assert getattr(columns, name).dtype == expected, name
    assert columns.kinds == ("long", "short")


def test_the_digest_follows_content_tokenizer_and_image_cost(world, folder, other):
    model = world.config().model
    digest = index.load(folder, world.tokenizer, model).digest
    source = f"{world.root}/interleaved/train"
    assert index.load(source, world.tokenizer, model).digest == digest
    larger = world.config().model
    larger.connector.tokens = 9
    index.build(folder, other)
    digests = {
        digest,
        index.load(folder, world.tokenizer, larger).digest,
        index.load(folder, other, model).digest,
        index.load(f"{world.root}/text/train", world.tokenizer, model).digest,
    }
    assert len(digests) == 4


def test_processes_make_the_same_files(world, folder):
    expected = {p.name: p.read_bytes() for p in folder.glob("*.npz")}
    for path in folder.glob("*.npz"):
        path.unlink()
    index.build(folder, world.tokenizer, workers=2)
    assert {p.name: p.read_bytes() for p in folder.glob("*.npz")} == expected
    assert len(expected) == 3


def test_what_is_indexed_is_left_alone(world, folder):
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    damaged, *_ = folder.glob("*.npz")
    damaged.write_bytes(damaged.read_bytes()[:100])
    index.build(folder, world.tokenizer)
    after = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert {p for p in after if after[p] != before.get(p)} == {damaged}


def test_another_tokenizer_is_refused_clearly(world, folder, other):
    with pytest.raises(ValueError, match=r"other\.model doesn't match the shards") as e:
        index.load(folder, other, world.config().model)
    assert "\n" not in str(e.value)


def test_a_missing_or_foreign_index_is_named(world, folder):
    model = world.config().model
    first, second, _ = sorted(folder.glob("*.npz"))
    second.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match=r"shard-00001.*index of another shard"):
        index.load(folder, world.tokenizer, model)
    second.write_bytes(first.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"shard-00001.*corrupt"):
        index.load(folder, world.tokenizer, model)
    for path in folder.glob("*.npz"):
        path.unlink()
    with pytest.raises(ValueError, match="have no index"):
        index.load(folder, world.tokenizer, model)


def test_real_tokenizers_count_as_they_encode(real_data, tmp_path, world):
    words = tokenizer.open(real_data / "tokenizers" / "llama2_tokenizer.model")
    texts = (real_data / "text" / "botchan.txt").read_text()[:20_000].splitlines()
    shards.write(tmp_path, [Document((Text(text),)) for text in texts], 2)
    index.build(tmp_path, words)
    columns = index.load(tmp_path, words, world.config().model)
    reader = ShardReader(tmp_path)
    found = [len(words.encode(reader.document(i).segments[0].text)) for i in range(30)]
    assert columns.segment_tokens[:30].tolist() == found

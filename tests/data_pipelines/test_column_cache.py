"""Columns from the cache are those of the indexes, and need no index."""

import collections
import logging
import pathlib
import shutil

import numpy as np
import pytest

from data_pipelines import column_cache, index, pipeline, shard_files, shards
from data_pipelines.wording import Choice
from mmjax import config as config_lib

FOLDER = "interleaved/train"
ORIGINAL = Choice()


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    monkeypatch.setattr(column_cache, "STORED_FROM", 1)


def load(world, cache, model=None, choice=ORIGINAL):
    folder = pathlib.Path(world.root) / FOLDER
    manifest = shards.read_manifest(folder)
    model = model or world.config().model
    return column_cache.load(folder, manifest, world.tokenizer, model, choice, cache)


def same(one, other):
    names = set(one._fields) - {"totals", "summary", "folder"}
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)


def forbid_indexes(monkeypatch):
    def load_shard(*_):
        raise AssertionError("an index file is opened")

    monkeypatch.setattr(index, "load_shard", load_shard)


def test_the_second_start_opens_no_index_file(world, tmp_path, monkeypatch):
    alone = pipeline.open(world.config())
    first = pipeline.open(world.config(), tmp_path)
    forbid_indexes(monkeypatch)
    second = pipeline.open(world.config(), tmp_path)
    assert alone.digest == first.digest == second.digest
    for batches in zip(*(opened.batches(0, 2) for opened in (alone, first, second))):
        for arrays in zip(*batches):
            assert all(np.array_equal(arrays[0], other) for other in arrays[1:])


def test_opening_looks_at_each_shard_once_and_opens_none(world, tmp_path, monkeypatch):
    pipeline.open(world.config(), tmp_path)
    looks, stat = collections.Counter(), pathlib.Path.stat

    def stat_once(path, **options):
        looks[path] += 1
        return stat(path, **options)

    monkeypatch.setattr(pathlib.Path, "stat", stat_once)
    monkeypatch.setattr(shard_files, "open_shard", None)
    pipeline.open(world.config(), tmp_path)
    found = {p: n for p, n in looks.items() if p.suffix == ".array_record"}
    assert len(found) == 9
    assert set(found.values()) == {1}


def test_cached_columns_are_those_of_the_indexes(world, tmp_path):
    folder = pathlib.Path(world.root) / FOLDER
    plain = index.load(folder, world.tokenizer, world.config().model)
    for _ in range(2):
        cached = load(world, tmp_path)
        assert cached.folder
        assert same(cached, plain)


def test_small_sources_and_no_cache_are_left_in_memory(world, tmp_path, monkeypatch):
    assert not load(world, None).folder
    monkeypatch.setattr(column_cache, "STORED_FROM", 200_000)
    assert not load(world, tmp_path).folder
    assert not list(tmp_path.iterdir())


def test_columns_follow_the_cost_of_images_and_the_wordings(world, tmp_path):
    load(world, tmp_path)
    load(world, tmp_path, choice=Choice(0.0, 7, "other"))  # as nothing is reworded
    assert len(list(tmp_path.iterdir())) == 1
    larger = world.config().model
    larger.connector.tokens = 9
    images = load(world, tmp_path, larger)
    assert set(images.segment_tokens[images.segment_image].tolist()) == {9}
    load(world, tmp_path, choice=Choice(0.5, 0, "captions"))
    load(world, tmp_path, choice=Choice(0.5, 1, "captions"))
    assert len(list(tmp_path.iterdir())) == 4


def test_columns_follow_the_shards_and_the_tokenizer(world, tmp_path):
    folder = pathlib.Path(world.root) / FOLDER
    manifest = shards.read_manifest(folder)
    model, words = world.config().model, world.tokenizer
    keys = {column_cache._key(manifest, words, model, Choice())}
    manifest["shards"][1]["sha256"] = "0" * 64
    keys.add(column_cache._key(manifest, words, model, Choice()))
    words = type(words)(words.path, pathlib.Path(words.path).read_bytes())
    words.digest = "another"
    keys.add(column_cache._key(manifest, words, model, Choice()))
    assert len(keys) == 3


@pytest.mark.parametrize("damage", ["array", "facts", "empty", "foreign", "file"])
def test_what_is_damaged_or_foreign_is_made_again(world, tmp_path, damage, caplog):
    plain = load(world, None)
    load(world, tmp_path)
    (folder,) = tmp_path.iterdir()
    match damage:
        case "array":
            data = (folder / "segment_tokens.npy").read_bytes()
            (folder / "segment_tokens.npy").write_bytes(data[:-9])
        case "facts":
            (folder / "columns.json").write_text("[]")
        case "empty":
            shutil.rmtree(folder)
            folder.mkdir()
        case "foreign":
            facts = (folder / "columns.json").read_text()
            (folder / "columns.json").write_text(facts.replace('"key": "', '"key": "0'))
        case "file":
            shutil.rmtree(folder)
            folder.write_text("no folder")
    with caplog.at_level(logging.WARNING):
        assert same(load(world, tmp_path), plain)
    assert str(folder) in caplog.text
    caplog.clear()
    assert same(load(world, tmp_path), plain)
    assert not caplog.text or damage == "file"


def test_a_cache_that_cant_be_written_is_done_without(world, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        columns = load(world, tmp_path / "file" / "cache")
    assert not columns.folder
    assert same(columns, load(world, None))
    assert "not cached" in caplog.text


def test_costs_of_images_follow_from_their_facts_alone():
    sides = np.array([1, 40, 336, 700, 4000])
    width, height = (side.ravel() for side in np.meshgrid(sides, sides))
    seen = {}
    for tokens in (16, 144):
        for size in (224, 378):
            for kind in config_lib.CONNECTORS:
                model = config_lib.Model(
                    vit=config_lib.ViT(image_size=size),
                    connector=config_lib.Connector(kind=kind, tokens=tokens),
                )
                cost = config_lib.image_cost(model, width, height)
                values = (cost.slots.tolist(), cost.positions.tolist())
                facts = config_lib.image_cost_facts(model)
                assert seen.setdefault(facts, values) == values
    assert len(seen) == 2

"""The compared loaders do the same task, and go on from their states as they claim."""

import importlib

import numpy as np
import pytest
import small_world

from benchmarks.loaders import base, compare, rows
from data_pipelines import pipeline
from data_pipelines.shard_reader import ShardReader
from mmjax.config import Mixture, Source

OPTIONAL = [
    pytest.param(name, marks=pytest.mark.extra) for name in ("tar", "parquet", "files")
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return small_world.make(tmp_path_factory.mktemp("world"))


@pytest.fixture
def setup(world, tmp_path):
    return base.Setup(
        world.root, str(tmp_path), documents=80, image_size=16, image_tokens=4,
        row_tokens=64, rows=2, seed=0, workers=0, decoder="fast",
    )  # fmt: skip


def photo(document):
    image, text = document.segments
    return base.Photo(image.data, text.text)


def photos(world):
    reader = ShardReader(f"{world.root}/captions/train")
    return [photo(reader.document(number)) for number in range(len(reader))]


def load(name, world, setup):
    loader = importlib.import_module(f"benchmarks.loaders.{name}")
    for package in loader.NEEDS:
        pytest.importorskip(package)
    loader.write(photos(world), setup)
    return loader


def flat(arrays):
    """The arrays of a batch, whatever holds them."""
    if isinstance(arrays, dict):
        arrays = [arrays[name] for name in sorted(arrays)]
    return [np.asarray(array) for array in arrays]


def test_rows_of_the_others_are_laid_as_the_pipeline_lays_its_own(world, setup):
    config = world.config(sources=(Source("captions"),), rows_per_batch=4)
    config.mixture = Mixture(weights=(1,))
    opened = pipeline.open(config)
    (batch,) = opened.batches(0, 1)
    samples = [
        [
            base.sample(setup, world.tokenizer, photo(opened.document(*place)))
            for place in row
        ]
        for group in opened.documents_of(0)
        for row in group
    ]
    packed = rows.lay(samples, setup._replace(rows=4))
    tokens, targets, loss, segments, positions, images, pixels = packed.arrays
    filled = segments > 0
    assert (filled == (batch.segments_ZRT[0] > 0)).all()
    for found, expected in (
        (tokens, batch.tokens_ZRT),
        (targets, batch.targets_ZRT),
        (loss, batch.loss_mask_ZRT),
        (segments, batch.segments_ZRT),
        (positions, batch.positions_ZRT),
        (images, batch.images_ZRT),
    ):
        assert (found[filled] == expected[0][filled]).all()
    assert (pixels == batch.pixels_ZChwc[batch.real_ZC]).all()
    assert packed[1:] == (int(batch.real_ZC.sum()), int(filled.sum()))


@pytest.mark.parametrize("name", ["own", "grain_stock", *OPTIONAL])
def test_every_loader_fills_rows_with_different_documents(name, world, setup):
    opened = load(name, world, setup).open(setup, None)
    batches = [next(opened.batches) for _ in range(3)]
    assert all(batch.images >= 4 for batch in batches)
    assert all(batch.tokens <= 2 * 64 for batch in batches)
    first, second = (flat(batch.arrays)[0] for batch in batches[:2])
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", ["own", "grain_stock", OPTIONAL[0], OPTIONAL[2]])
def test_who_claims_to_goes_on_exactly(name, world, setup):
    loader = load(name, world, setup)
    opened = loader.open(setup, None)
    for _ in range(2):
        next(opened.batches)
    state = opened.state()
    expected = [flat(next(opened.batches).arrays) for _ in range(2)]
    again = loader.open(setup, state)
    found = [flat(next(again.batches).arrays) for _ in range(2)]
    for one, other in zip(expected, found):
        assert all(np.array_equal(a, b) for a, b in zip(one, other))


def test_what_is_not_installed_is_named_in_its_line(world, setup, monkeypatch):
    result = compare.Result(1000.0, 150_000.0, 0.5, 0.25, 5_000_000)
    monkeypatch.setattr(compare, "_measure", lambda *_: result)
    find = compare.importlib.util.find_spec
    monkeypatch.setattr(
        compare.importlib.util,
        "find_spec",
        lambda name: find(name) if name == "grain" else None,
    )
    lines = list(compare.table(photos(world), setup, 2))
    assert "| mmjax | 1,000 | 150,000 | 0.50 | 0.25 | 5 | exact |" in lines
    absent = [line for line in lines if "not installed" in line]
    assert len(absent) == len(compare.LOADERS) - 2
    assert any("pip install webdataset" in line for line in absent)


def test_pillow_and_the_fast_decoder_see_the_same_photo(real_data, setup):
    path = next((real_data / "captions").rglob("*.jpg"))
    found = []
    for decoder in base.DECODERS:
        out_hwc = np.zeros((224, 224, 3), np.uint8)
        base.decode(setup._replace(decoder=decoder), path.read_bytes(), out_hwc)
        found.append(out_hwc.astype(int))
    assert np.abs(found[0] - found[1]).mean() < 3

"""Photos become the pixels that the processors of transformers make of them.

Differences are means of absolute ones, of 256 levels. With bicubic filters the pixels
are the same, but for rounding; `area`, which is many times as fast, is another filter.
"""

import importlib
import pathlib

import numpy as np
import PIL.Image
import pytest

from data_pipelines import crops, images
from mmjax.tiling import GRIDS

pytestmark = pytest.mark.extra

SIDE = 336
COLOUR = (122, 116, 104)
SQUARE = {"size": {"height": SIDE, "width": SIDE}}
SHORT = {
    "size": {"shortest_edge": SIDE},
    "crop_size": {"height": SIDE, "width": SIDE},
}


def processor(name: str, **options):
    """An image processor of transformers, on Pillow, that leaves pixels in 0 to 255."""
    folder = {"CLIP": "clip", "Siglip": "siglip", "Llava": "llava"}.get(
        name, "llava_next"
    )
    path = f"transformers.models.{folder}.image_processing_pil_{folder}"
    pytest.importorskip("transformers")
    kind = getattr(importlib.import_module(path), f"{name}ImageProcessorPil")
    return kind(do_rescale=False, do_normalize=False, **options)


@pytest.fixture
def photos(real_data) -> list[pathlib.Path]:
    return sorted((real_data / "captions" / "flickr8k_1000" / "images").iterdir())[:40]


def difference(path: pathlib.Path, peer, recipe: crops.Recipe) -> float:
    """Of all crops of a photo."""
    photo = PIL.Image.open(path).convert("RGB")
    expected = np.asarray(peer(photo)["pixel_values"][0], np.float64)
    expected_Chwc = expected.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    grid = crops.grid(recipe, *photo.size)
    found_Chwc = np.empty((crops.count(grid), SIDE, SIDE, 3), np.uint8)
    assert images.decode_crops(path.read_bytes(), recipe, grid, found_Chwc)
    assert found_Chwc.shape == expected_Chwc.shape
    return float(np.abs(found_Chwc - expected_Chwc).mean())


@pytest.mark.parametrize(
    ("name", "options", "resize", "tiling", "exact", "close"),
    [
        ("CLIP", SHORT, "crop", "none", 0.005, 1),
        ("Siglip", SQUARE, "warp", "none", 0, 1),
        ("Llava", {**SHORT, "do_pad": True}, "letterbox", "none", 0.05, 1),
        ("LlavaNext", SHORT, "warp", "anyres", 0, 1),
    ],
)
def test_pixels_are_those_of_the_peer(
    photos, name, options, resize, tiling, exact, close
):
    peer = processor(name, **options)
    grids = GRIDS.get(tiling, ())
    recipe = crops.Recipe(SIDE, resize, "bicubic", COLOUR, tiling, grids)
    found = [difference(path, peer, recipe) for path in photos]
    assert np.mean(found) <= exact
    fast = recipe._replace(interpolation="area")
    found = [difference(path, peer, fast) for path in photos[::4]]
    assert np.mean(found) <= close


def test_a_bilinear_processor_has_its_own_filter(photos):
    peer = processor("Siglip", resample=PIL.Image.Resampling.BILINEAR, **SQUARE)
    recipe = crops.Recipe(SIDE, "warp", "bilinear")
    for path in photos[:5]:
        assert difference(path, peer, recipe) == 0
        assert difference(path, peer, recipe._replace(interpolation="bicubic")) > 0.2

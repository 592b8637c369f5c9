"""Images of scenes: real JPEGs in which colours can be told apart."""

import io
import itertools
import random

import numpy as np
import PIL.Image
import pytest

from data_pipelines.prepare import drawing, scenes


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("side", [64, 112])
def test_an_image_is_a_baseline_jpeg_of_the_asked_size(side):
    scene = scenes.draw(random.Random(0), "train")
    opened = PIL.Image.open(io.BytesIO(drawing.jpeg(scene, side, 1)))
    assert (opened.format, opened.mode, opened.size) == ("JPEG", "RGB", (side, side))
    assert "progressive" not in opened.info


@pytest.mark.parametrize("shape", [s for s in scenes.SHAPES if s != "ring"])
@pytest.mark.parametrize("size", scenes.SIZES)
def test_the_middle_of_a_thing_has_its_colour(shape, size):
    for colour, background in itertools.product(scenes.COLOURS, scenes.BACKGROUNDS):
        thing = scenes.Thing(size, colour, shape, 0.5, 0.4)
        scene = scenes.Scene((thing,), background, "plain")
        found_c = _pixels(drawing.jpeg(scene, 64, 0))[26, 32].astype(int)
        assert np.abs(found_c - scenes.COLOURS[colour]).max() < 40


def test_a_ring_shows_the_background_in_its_middle():
    thing = scenes.Thing("small", "red", "ring", 0.5, 0.5)
    scene = scenes.Scene((thing,), "dark grey", "plain")
    pixels_hwc = drawing.render(scene, 64, 0)
    ground_c = np.array(scenes.BACKGROUNDS["dark grey"])
    assert np.abs(pixels_hwc[32, 32] - ground_c).max() < 5
    middle_of_ring = 32 - round(0.82 * scenes.SIZES["small"] * 64)
    ring_c = pixels_hwc[32, middle_of_ring].astype(int)
    assert np.abs(ring_c - np.array(scenes.COLOURS["red"])).max() < 5


def test_colours_are_far_from_each_other_and_from_backgrounds():
    colours = [np.array(c) for c in scenes.COLOURS.values()]
    grounds = [np.array(c) for c in scenes.BACKGROUNDS.values()]
    pairs = [*itertools.combinations(colours, 2), *itertools.product(colours, grounds)]
    assert min(np.linalg.norm(a - b) for a, b in pairs) > 60


def test_the_same_scene_and_seed_give_the_same_bytes_and_another_seed_others():
    scene = scenes.draw(random.Random(3), "train")._replace(texture="speckled")
    assert drawing.jpeg(scene, 64, 5) == drawing.jpeg(scene, 64, 5)
    assert drawing.jpeg(scene, 64, 5) != drawing.jpeg(scene, 64, 6)

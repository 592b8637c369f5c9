"""The choice of a grid: LLaVA-NeXT's, of the size of an image alone."""

import itertools

import numpy as np
import pytest

from mmjax import config as config_lib
from mmjax import tiling

LLAVA_NEXT = tiling.GRIDS["anyres"]
SIDES = (1, 2, 7, 100, 333, 336, 337, 500, 672, 673, 1008, 1344, 4000, 10_000)


def by_hand(grids, size, width, height) -> int:
    """The choice for one image: the fullest, then the least empty, then the first."""
    found = []
    for number, (rows, columns) in enumerate(grids):
        scale = min(columns * size / width, rows * size / height)
        seen = min(int(width * scale) * int(height * scale), width * height)
        empty = rows * size * columns * size - seen
        found.append((-seen, empty, number))
    return min(found)[2]


@pytest.mark.parametrize("size", [14, 336, 672])
@pytest.mark.parametrize(
    "grids", [LLAVA_NEXT, LLAVA_NEXT[::-1], ((1, 1), (2, 2), (4, 4), (1, 6))]
)
def test_the_grid_is_the_one_that_a_loop_over_candidates_finds(size, grids):
    sides = np.array(list(itertools.product(SIDES, SIDES)))
    found = tiling.choose(grids, size, sides[:, 0], sides[:, 1])
    expected = [by_hand(grids, size, *pair) for pair in sides.tolist()]
    assert found.tolist() == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize(
    ("width", "height", "grid"),
    [
        (672, 672, (2, 2)),
        (640, 480, (2, 2)),  # no other grid shows all of it
        (1000, 300, (1, 3)),
        (300, 1000, (3, 1)),
        (300, 300, (1, 2)),  # each shows all: the first of the smallest
        (10_000, 1, (1, 2)),  # none shows a whole row of pixels
        (1, 10_000, (1, 2)),
    ],
)
def test_examples_at_336_pixels(width, height, grid):
    found = tiling.choose(LLAVA_NEXT, 336, np.array(width), np.array(height))
    assert LLAVA_NEXT[int(found)] == grid


def test_a_single_grid_is_taken_whatever_the_size():
    sides = np.array(SIDES)
    assert not tiling.choose(((2, 2),), 336, sides, sides[::-1]).any()


def test_many_images_are_told_as_one_by_one(monkeypatch):
    rng = np.random.default_rng(0)
    sides = rng.integers(1, 2000, (2, 3, 5))
    whole = tiling.choose(LLAVA_NEXT, 336, *sides)
    monkeypatch.setattr(tiling, "_PART", 4)
    np.testing.assert_array_equal(tiling.choose(LLAVA_NEXT, 336, *sides), whole)
    assert whole.shape == (3, 5)
    alone = [
        int(tiling.choose(LLAVA_NEXT, 336, *pair))
        for pair in zip(*sides.reshape(2, -1))
    ]
    assert whole.ravel().tolist() == alone


def test_every_tiling_has_its_grids():
    assert ("none", *tiling.GRIDS) == config_lib.TILINGS


@pytest.mark.extra
def test_the_grid_is_the_one_of_transformers():
    utils = pytest.importorskip("transformers.image_processing_utils")
    rng = np.random.default_rng(0)
    sides = rng.integers(1, 3000, (2000, 2))
    places = tiling.choose(LLAVA_NEXT, 336, sides[:, 0], sides[:, 1])
    canvases = [(336 * rows, 336 * columns) for rows, columns in LLAVA_NEXT]
    for (width, height), place in zip(sides.tolist(), places.tolist()):
        best = utils.select_best_resolution((height, width), canvases)
        assert canvases[place] == best

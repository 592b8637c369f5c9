"""Positions of a tiled image: LLaVA-NeXT's, of the size of an image alone."""

import itertools
import types

import numpy as np
import pytest

from mmjax import config as config_lib
from mmjax import image_map, tiling
from mmjax.batch import NEWLINE
from mmjax.image_map import Map

GRIDS = tiling.GRIDS["anyres"]
# Small and large, odd and even, thin lines, and aspect ratios that are a grid's own.
SIDES = (1, 2, 3, 7, 99, 100, 336, 337, 500, 672, 673, 1008, 1009, 3000, 10_000)
LAYOUTS = [
    Map(side, unpad, newline)
    for side, (unpad, newline) in itertools.product(
        (1, 3, 24), [(True, True), (True, False), (False, True)]
    )
]


def kept_by_hand(layout, grid, width, height) -> tuple[int, int]:
    """Rows and columns of one image, by the published rule, in floats."""
    down, across = (count * layout.side for count in grid)
    if not layout.unpad:
        return down, across
    if width / height > across / down:
        shown = int(round(height * (across / width), 7))
        return down - (down - shown) // 2 * 2, across
    shown = int(round(width * (down / height), 7))
    return down, across - (across - shown) // 2 * 2


def order_by_hand(layout, grid, width, height) -> list[int]:
    """What stands at each position, by a loop over the places of the picture."""
    side, (rows, columns) = layout.side, grid
    found = list(range(side * side))
    down, across = kept_by_hand(layout, grid, width, height)
    top, left = (rows * side - down) // 2, (columns * side - across) // 2
    for y in range(top, top + down):
        for x in range(left, left + across):
            crop = 1 + (y // side) * columns + x // side
            found.append(crop * side * side + (y % side) * side + x % side)
        if layout.newline:
            found.append(NEWLINE)
    return found


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_order_is_that_of_a_loop_over_the_picture(layout):
    for grid in ((1, 2), (3, 1), (2, 2), (1, 1)):
        for width, height in itertools.product(SIDES[::2], SIDES[1::2]):
            found = image_map.order(layout, grid, width, height)
            assert found.dtype == np.int32
            assert found.tolist() == order_by_hand(layout, grid, width, height)


def test_the_drawing_in_the_docstring():
    found = image_map.order(Map(2, True, True), (1, 2), 200, 100)
    left, right = [4, 5, 8, 9], [6, 7, 10, 11]
    assert found.tolist() == [0, 1, 2, 3, *left, NEWLINE, *right, NEWLINE]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_positions_of_many_images_are_counted_as_those_of_one(layout, monkeypatch):
    rng = np.random.default_rng(0)
    sizes = [*itertools.product(SIDES, SIDES), *rng.integers(1, 5000, (500, 2))]
    grids = rng.integers(1, 5, (len(sizes), 2))
    width, height = np.array(sizes).T
    monkeypatch.setattr(image_map, "_PART", 64)
    found = image_map.positions(layout, *grids.T, width, height)
    expected = [
        len(order_by_hand(layout, tuple(grid), *map(int, size)))
        for grid, size in zip(grids.tolist(), sizes)
    ]
    assert found.dtype == np.int32
    assert found.tolist() == expected


def test_integers_keep_what_rounded_floats_keep():
    """Also where a quotient is a whole number that floats miss by a last bit."""
    rng = np.random.default_rng(0)
    layout = Map(24, True, True)
    factors = rng.integers(1, 400, (3000, 2))
    exact = np.stack([72 * factors[:, 0], 72 * factors[:, 1]], axis=1)
    sizes = np.concatenate([exact, rng.integers(1, 30_000, (20_000, 2))])
    for grid in ((1, 3), (2, 2), (3, 1)):
        found = image_map.kept(layout, *grid, sizes[:, 0], sizes[:, 1])
        expected = [kept_by_hand(layout, grid, *size) for size in sizes.tolist()]
        assert np.stack(found, axis=1).tolist() == [list(pair) for pair in expected]


def model(**fields) -> config_lib.Model:
    """LLaVA-NeXT's encoder and connector, its tiles as one picture."""
    made = config_lib.Model(vit=config_lib.ViT(image_size=336))
    made.connector = config_lib.Connector(kind="mlp", tokens=576)
    made.preprocessing = config_lib.Preprocessing(tiling="anyres", **fields)
    return made


@pytest.mark.parametrize(
    ("width", "height", "rows", "columns"),
    [
        (672, 672, 48, 48),
        (1000, 750, 36, 48),
        (640, 480, 36, 48),
        (300, 1000, 72, 22),  # 21 of 24, and one more for equal margins
        (10_000, 1, 0, 48),  # less than a row of patches
        (1, 10_000, 24, 0),  # as many newlines as rows, and no patch
    ],
)
def test_what_images_of_known_sizes_cost(width, height, rows, columns):
    sizes = np.array([width]), np.array([height])
    both = config_lib.image_cost(model(unpad=True, newline=True), *sizes)
    assert both.positions.tolist() == [576 + rows * (columns + 1)]
    alone = config_lib.image_cost(model(unpad=True), *sizes)
    assert alone.positions.tolist() == [576 + rows * columns]
    assert alone.slots == config_lib.image_cost(model(), *sizes).slots


@pytest.mark.parametrize("unpad", [False, True])
@pytest.mark.parametrize("newline", [False, True])
def test_no_image_takes_more_than_the_most_positions_and_one_takes_them(unpad, newline):
    made = model(unpad=unpad, newline=newline)
    sides = np.concatenate([SIDES, np.arange(300, 1100, 12)])
    pairs = np.array(list(itertools.product(sides, sides)))
    cost = config_lib.image_cost(made, pairs[:, 0], pairs[:, 1])
    assert cost.positions.max() == config_lib.most_positions(made)


def test_other_maps_are_other_facts():
    options = [
        {"unpad": unpad, "newline": newline}
        for unpad, newline in itertools.product((False, True), repeat=2)
    ]
    facts = {config_lib.image_cost_facts(model(**option)) for option in options}
    assert len(facts) == 4


@pytest.mark.extra
@pytest.mark.parametrize("newline", [False, True])
def test_the_order_is_the_one_of_transformers(newline):
    module = pytest.importorskip(
        "transformers.models.llava_next.modeling_llava_next", exc_type=ImportError
    )
    torch = pytest.importorskip("torch")
    side, size = 6, 336
    layout = Map(side, True, newline)
    vision = types.SimpleNamespace(image_size=size, patch_size=size // side)
    points = [[rows * size, columns * size] for rows, columns in GRIDS]
    settings = types.SimpleNamespace(vision_config=vision, image_grid_pinpoints=points)
    peer = types.SimpleNamespace(config=settings)
    end = torch.tensor([float(NEWLINE)]) if newline else None
    rng = np.random.default_rng(0)
    sizes = [*itertools.product(SIDES, SIDES), *rng.integers(1, 3000, (500, 2))]
    for width, height in (map(int, pair) for pair in sizes):
        place = tiling.choose(GRIDS, size, np.array(width), np.array(height))
        grid = GRIDS[int(place)]
        tokens = torch.arange((1 + grid[0] * grid[1]) * side**2).reshape(-1, side**2, 1)
        (found,), _ = module.LlavaNextModel.pack_image_features(
            peer, [tokens.float()], [(height, width)], "full", end
        )
        ours = image_map.order(layout, grid, width, height)
        assert ours.tolist() == found[:, 0].int().tolist(), (width, height)

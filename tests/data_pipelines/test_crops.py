"""Crops: tiles that make the image again, in reading order, decoded once."""

import io
import itertools

import numpy as np
import PIL.Image
import pytest
import simplejpeg

from data_pipelines import crops, images, resizing
from data_pipelines.prepare import photos
from mmjax import config as config_lib
from mmjax.tiling import GRIDS

SIDE = 48
SIZES = [(64, 48), (300, 300), (500, 120), (120, 500), (20, 30), (1, 400), (700, 650)]
COMBINATIONS = list(
    itertools.product(config_lib.IMAGE_RESIZES, ("area", "bicubic"), ("mm1", "anyres"))
)


def picture(width: int, height: int) -> PIL.Image.Image:
    """Red grows to the right, green downwards, over coarse noise."""
    rng = np.random.default_rng(width + 1000 * height)
    noise = PIL.Image.fromarray(rng.integers(0, 256, (9, 9)).astype(np.uint8))
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    blue = np.asarray(noise.resize((width, height), PIL.Image.Resampling.BICUBIC))
    return PIL.Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def encoded(image: PIL.Image.Image, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return file.getvalue()


def recipe_of(resize="warp", interpolation="area", tiling="mm1", size=SIDE):
    return crops.Recipe(
        size, resize, interpolation, (122, 116, 104), tiling, GRIDS[tiling]
    )


def decoded(data: bytes, recipe: crops.Recipe, size: tuple[int, int]) -> np.ndarray:
    """The crops of an image of this size."""
    grid = crops.grid(recipe, *size)
    side = recipe.size
    out_Chwc = np.full((crops.count(grid), side, side, 3), 99, np.uint8)
    assert images.decode_crops(data, recipe, grid, out_Chwc)
    return out_Chwc


def stitched(tiles_Chwc: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Tiles laid row by row, from left to right."""
    rows, columns = grid
    lines = [
        np.concatenate(list(tiles_Chwc[row * columns : (row + 1) * columns]), axis=1)
        for row in range(rows)
    ]
    return np.concatenate(lines, axis=0)


def test_the_names_are_those_of_the_config():
    assert tuple(crops.TILINGS) == config_lib.TILINGS
    model = config_lib.Model()
    assert crops.recipe(model) == crops.Recipe(378, colour=(122, 116, 104))
    assert crops.grid(crops.recipe(model), 640, 480) == crops.NO_TILES


def test_margins_have_the_encoders_mean_colour():
    model = config_lib.Model(vit=config_lib.ViT(mean=(0.5, 0.25, 1.0)))
    assert crops.recipe(model).colour == (127, 63, 255)


@pytest.mark.parametrize("tiling", config_lib.TILINGS)
def test_an_image_has_as_many_crops_as_the_plan_reckons_with(tiling):
    model = config_lib.Model(preprocessing=config_lib.Preprocessing(tiling=tiling))
    recipe = crops.recipe(model)
    for width, height in SIZES:
        cost = config_lib.image_cost(model, np.array(width), np.array(height))
        assert crops.count(crops.grid(recipe, width, height)) == cost.slots


@pytest.mark.parametrize(("resize", "interpolation", "tiling"), COMBINATIONS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_tiles_laid_side_by_side_are_the_whole_image_resized(
    resize, interpolation, tiling, kind
):
    for size in SIZES:
        image = picture(*size)
        data, recipe = encoded(image, kind), recipe_of(resize, interpolation, tiling)
        first_hwc, *tiles = decoded(data, recipe, size)
        rows, columns = grid = crops.grid(recipe, *size)
        canvas = stitched(np.stack(tiles), grid)
        pixels_hwc = np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))
        function = resizing.INTERPOLATIONS[interpolation]
        expected = np.zeros_like(canvas)
        if tiling == "mm1":
            square = resizing.RESIZES[resize]
            square(pixels_hwc, expected, function, recipe.colour)
        else:
            within = (rows * SIDE, columns * SIDE)
            sides = resizing.fitted_sides(size[1], size[0], within)
            inside = np.zeros((*sides, 3), np.uint8)
            function(pixels_hwc, inside, None)
            top, left = (rows * SIDE - sides[0]) // 2, (columns * SIDE - sides[1]) // 2
            expected[top : top + sides[0], left : left + sides[1]] = inside
        # A JPEG may be shrunk while it is decoded.
        shrunk = kind == "JPEG" and interpolation == "area"
        apart = np.abs(canvas.astype(int) - expected).mean()
        assert apart <= (3 if shrunk else 0)
        whole = np.zeros_like(first_hwc)
        seen_hwc = canvas if tiling == "mm1" else pixels_hwc
        resizing.RESIZES[resize](seen_hwc, whole, function, recipe.colour)
        assert np.abs(first_hwc.astype(int) - whole).mean() <= (3 if shrunk else 0)


@pytest.mark.parametrize("interpolation", config_lib.INTERPOLATIONS)
@pytest.mark.parametrize("resize", config_lib.IMAGE_RESIZES)
def test_the_whole_image_of_mm1_is_nearly_what_it_is_without_tiles(
    resize, interpolation
):
    for size in ((300, 300), (500, 120), (700, 650)):
        data = encoded(picture(*size), "PNG")
        tiled = recipe_of(resize, interpolation)
        plain = tiled._replace(tiling="none", grids=())
        one, other = (decoded(data, how, size)[0] for how in (tiled, plain))
        assert np.abs(one.astype(int) - other).mean() < 2


def test_crops_are_the_whole_first_then_tiles_in_reading_order():
    data = encoded(picture(300, 300), "PNG")
    whole, *tiles = decoded(data, recipe_of(), (300, 300))
    mean = [tile.mean(axis=(0, 1)) for tile in tiles]
    left, right, upper, lower = 64, 191, 64, 191  # means of a half
    expected = [(left, upper), (right, upper), (left, lower), (right, lower)]
    for (red, green, _), pair in zip(mean, expected, strict=True):
        assert (red, green) == pytest.approx(pair, abs=3)
    assert whole.mean(axis=(0, 1))[:2] == pytest.approx((127, 127), abs=2)


def test_anyres_of_a_small_image_enlarges_it_between_black_margins():
    data = encoded(picture(20, 30), "PNG")
    recipe = recipe_of(tiling="anyres")
    grid = crops.grid(recipe, 20, 30)
    canvas = stitched(decoded(data, recipe, (20, 30))[1:], grid)
    assert grid == (1, 2)
    assert canvas.shape == (SIDE, 2 * SIDE, 3)
    assert not canvas[:, :32].any()  # 48 x 32 pixels in the middle
    assert canvas[:, 32:64].any(axis=2).all()
    assert not canvas[:, 64:].any()


def test_all_crops_of_an_image_are_decoded_at_once(monkeypatch):
    calls = []
    decode = simplejpeg.decode_jpeg

    def counted(*args, **kwargs):
        calls.append(kwargs)
        return decode(*args, **kwargs)

    monkeypatch.setattr(simplejpeg, "decode_jpeg", counted)
    found = decoded(encoded(picture(700, 650)), recipe_of(), (700, 650))
    assert len(found) == 5
    assert len(calls) == 1
    assert calls[0]["min_height"] == 2 * SIDE  # no smaller than its tiles need


@pytest.mark.parametrize("tiling", ["mm1", "anyres"])
def test_all_crops_of_a_damaged_image_are_grey(tiling):
    data = encoded(picture(300, 200))[:900]
    recipe = recipe_of(tiling=tiling)
    grid = crops.grid(recipe, 300, 200)
    out_Chwc = np.zeros((crops.count(grid), SIDE, SIDE, 3), np.uint8)
    assert not images.decode_crops(data, recipe, grid, out_Chwc)
    assert (out_Chwc == images.GREY).all()


def test_a_prepared_photo_is_cut_as_it_is_seen_upright():
    """Preparation turns a photo that its camera held sideways; its sides go along."""
    file, exif = io.BytesIO(), PIL.Image.Exif()
    exif[0x0112] = 6  # lies on its side: to be turned by a quarter
    picture(400, 100).save(file, "JPEG", exif=exif, quality=95)
    image = photos.convert(file.getvalue(), 448)
    assert (image.width, image.height) == (100, 400)
    recipe = recipe_of(tiling="anyres")
    assert crops.grid(recipe, image.width, image.height) == (3, 1)
    _, *tiles = decoded(image.data, recipe, (image.width, image.height))
    seen = [tile[tile.any(axis=2)].mean(axis=0)[0] for tile in tiles]
    assert seen == sorted(seen)  # red, once growing to the right, grows downwards


@pytest.mark.parametrize(
    ("resize", "interpolation", "tiling"),
    [("warp", "area", "mm1"), ("warp", "bicubic", "anyres"), ("crop", "area", "mm1")],
)
def test_tiles_of_real_photos_are_the_whole_photo(
    real_data, resize, interpolation, tiling
):
    folder = real_data / "captions" / "flickr8k_1000" / "images"
    recipe = recipe_of(resize, interpolation, tiling, size=112)
    plain = recipe._replace(tiling="none", grids=(), size=224)
    for path in sorted(folder.iterdir())[:10]:
        data = path.read_bytes()
        size = PIL.Image.open(path).size
        grid = crops.grid(recipe, *size)
        canvas = stitched(decoded(data, recipe, size)[1:], grid)
        if tiling == "mm1":
            np.testing.assert_array_equal(canvas, decoded(data, plain, size)[0])
            continue
        sides = resizing.fitted_sides(size[1], size[0], canvas.shape[:2])
        photo = PIL.Image.open(path).convert("RGB")
        inside = photo.resize((sides[1], sides[0]), PIL.Image.Resampling.BICUBIC)
        expected = PIL.Image.new("RGB", (canvas.shape[1], canvas.shape[0]))
        place = ((canvas.shape[1] - sides[1]) // 2, (canvas.shape[0] - sides[0]) // 2)
        expected.paste(inside, place)
        assert np.abs(canvas.astype(int) - np.asarray(expected)).max() <= 1

"""Resizing: what CLIP, SigLIP and LLaVA see, at any size and aspect."""

import tracemalloc

import cv2
import numpy as np
import PIL.Image
import pytest

from data_pipelines import resizing
from mmjax import config as config_lib

GREY, RED = (127, 127, 127), (200, 10, 30)
FILTERS = ("bicubic", "bilinear", "lanczos")
SIZES = [(64, 64), (200, 120), (120, 200), (31, 90), (500, 333), (90, 31), (40, 3)]


def photo(width: int, height: int) -> np.ndarray:
    """Coarse and fine structure, as a photo has."""
    rng = np.random.default_rng(width * 1000 + height)
    coarse = rng.integers(0, 256, (5, 5, 3)).astype(np.uint8)
    large = PIL.Image.fromarray(coarse).resize(
        (width, height), PIL.Image.Resampling.BICUBIC
    )
    return (0.8 * np.asarray(large) + rng.uniform(0, 51, (height, width, 3))).astype(
        np.uint8
    )


def resized(pixels_hwc, resize, interpolation, side=64, colour=GREY) -> np.ndarray:
    out_hwc = np.full((side, side, 3), 99, np.uint8)
    function = resizing.INTERPOLATIONS[interpolation]
    resizing.RESIZES[resize](pixels_hwc, out_hwc, function, colour)
    return out_hwc


def pillow(pixels_hwc, sides, interpolation) -> np.ndarray:
    """Pillow's own resize of a whole image."""
    method = PIL.Image.Resampling[interpolation.upper()]
    size = (sides[1], sides[0])
    return np.asarray(PIL.Image.fromarray(pixels_hwc).resize(size, method))


def apart(one, two) -> float:
    """Mean absolute difference."""
    return float(np.abs(one.astype(int) - two.astype(int)).mean())


def test_the_names_are_those_of_the_config():
    assert tuple(resizing.RESIZES) == config_lib.IMAGE_RESIZES
    assert tuple(resizing.INTERPOLATIONS) == config_lib.INTERPOLATIONS


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_filters_are_pillows(width, height, interpolation):
    pixels_hwc = photo(width, height)
    expected = pillow(pixels_hwc, (64, 64), interpolation)
    np.testing.assert_array_equal(resized(pixels_hwc, "warp", interpolation), expected)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_crop_is_the_middle_of_the_whole_image_resized(width, height, interpolation):
    pixels_hwc = photo(width, height)
    sides = [int(64 * side / min(width, height)) for side in (height, width)]
    whole_hwc = pillow(pixels_hwc, sides, interpolation)
    top, left = (sides[0] - 64) // 2, (sides[1] - 64) // 2
    expected = whole_hwc[top : top + 64, left : left + 64]
    found = resized(pixels_hwc, "crop", interpolation)
    assert np.abs(found.astype(int) - expected).max() <= 2  # rounded at another place
    assert apart(found, expected) < 0.02


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_letterbox_is_the_image_padded_to_a_square_then_resized(
    width, height, interpolation
):
    pixels_hwc, longest = photo(width, height), max(width, height)
    square = PIL.Image.new("RGB", (longest, longest), RED)
    place = ((longest - width) // 2, (longest - height) // 2)
    square.paste(PIL.Image.fromarray(pixels_hwc), place)
    expected = pillow(np.asarray(square), (64, 64), interpolation)
    found = resized(pixels_hwc, "letterbox", interpolation, colour=RED)
    if width >= height:  # Pillow goes across first, too
        np.testing.assert_array_equal(found, expected)
    assert apart(found, expected) < 0.3


@pytest.mark.parametrize("resize", config_lib.IMAGE_RESIZES)
@pytest.mark.parametrize(("width", "height"), SIZES[:5])
def test_area_is_close_to_the_antialiased_filter(resize, width, height):
    pixels_hwc = photo(width, height)
    area = resized(pixels_hwc, resize, "area")
    bicubic = resized(pixels_hwc, resize, "bicubic")
    shuffled = resized(np.ascontiguousarray(pixels_hwc[::-1]), resize, "bicubic")
    assert apart(area, bicubic) < 6 < 2 * apart(area, shuffled)


@pytest.mark.parametrize("interpolation", config_lib.INTERPOLATIONS)
@pytest.mark.parametrize("resize", config_lib.IMAGE_RESIZES)
def test_a_square_image_is_the_same_in_all_three(resize, interpolation):
    for side in (64, 100, 40):
        pixels_hwc = photo(side, side)
        expected = resized(pixels_hwc, "warp", interpolation)
        found = resized(pixels_hwc, resize, interpolation)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        resized(photo(64, 64), resize, interpolation), photo(64, 64)
    )


@pytest.mark.parametrize("interpolation", config_lib.INTERPOLATIONS)
@pytest.mark.parametrize("tall", [False, True])
def test_a_line_of_10000_pixels_has_a_stated_result(interpolation, tall):
    """Warped to bands, cropped to its middle pixel, a line in the middle of a box."""
    line_hwc = np.full((1, 10_000, 3), 50, np.uint8)
    line_hwc[:, 5000:] = 150
    if tall:
        line_hwc = np.ascontiguousarray(line_hwc.transpose(1, 0, 2))
    tracemalloc.start()
    warped, cropped, boxed = (
        resized(line_hwc, resize, interpolation) for resize in config_lib.IMAGE_RESIZES
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    if tall:
        warped, boxed = (pixels.transpose(1, 0, 2) for pixels in (warped, boxed))
    assert (warped[:, :30] == 50).all()
    assert (warped[:, 34:] == 150).all()
    assert np.ptp(cropped) <= 100  # of the two pixels beside the middle
    boxed = boxed.astype(int)
    rows = np.flatnonzero((boxed != 127).any(axis=(1, 2)))
    assert set(rows) <= {30, 31, 32, 33}
    assert (boxed[:30] == 127).all()


def test_odd_margins_are_larger_below_and_to_the_right():
    ones_hwc = np.ones((2, 3, 3), np.uint8)
    found = resizing.padded(ones_hwc, (5, 6), (9, 9, 9))[..., 0]
    expected = np.full((5, 6), 9)
    expected[1:3, 1:4] = 1
    np.testing.assert_array_equal(found, expected)
    assert resizing.padded(ones_hwc, (2, 3), GREY) is ones_hwc


@pytest.mark.parametrize(
    ("height", "width", "fitted"),
    [
        (480, 640, (504, 672)),
        (640, 480, (672, 504)),
        (1, 10_000, (1, 672)),
        (10_000, 1, (672, 1)),
        (100, 101, (666, 672)),  # 665.3 rounded up
        (672, 672, (672, 672)),
    ],
)
def test_fitted_sides_keep_the_aspect_and_are_never_zero(height, width, fitted):
    assert resizing.fitted_sides(height, width, (672, 672)) == fitted


def natural(side: int) -> np.ndarray:
    """A grey picture whose amplitudes fall as 1/f, as those of photos do."""
    rng = np.random.default_rng(side)
    down, across = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))
    far = np.hypot(down, across)
    far[0, 0] = 1
    phases = np.exp(2j * np.pi * rng.random((side, side)))
    waves = np.fft.ifft2(phases / far).real
    grey = 127 + 50 * waves / waves.std()
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("side", [192, 211, 240, 256, 288, 289, 336, 384, 500])
def test_area_is_near_to_lanczos_and_nearer_than_pillows_bilinear(side):
    pixels_hwc = natural(side)
    lanczos = pillow(pixels_hwc, (192, 192), "lanczos")
    found = apart(resized(pixels_hwc, "warp", "area", 192), lanczos)
    averaged = cv2.resize(pixels_hwc, (192, 192), interpolation=cv2.INTER_AREA)
    assert found <= 1.15 * apart(averaged, lanczos)
    assert found <= apart(pillow(pixels_hwc, (192, 192), "bilinear"), lanczos)

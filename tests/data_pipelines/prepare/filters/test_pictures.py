"""Images: sizes, shapes, names and colours, at MM1's limits."""

import io

import numpy as np
import PIL.Image
import pytest

from data_pipelines.prepare.filters import pictures
from data_pipelines.prepare.filters.pictures import Rules


def _reason(name="photo.jpg", size=50_000, width=400, height=300, **limits):
    found = pictures.problem(name, size, width, height, Rules(**limits))
    return found.reason if found else ""


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (100, 100, ""),
        (99, 100, "image_side"),
        (100, 99, "image_side"),
        (10_000, 5_000, ""),
        (5_001, 10_001, "image_side"),
        (200, 100, ""),
        (100, 200, ""),
        (201, 100, "image_aspect"),
        (100, 201, "image_aspect"),
    ],
)
def test_sides_and_shapes_have_the_published_limits(width, height, reason):
    assert _reason(width=width, height=height) == reason


def test_sizes_of_files_are_limited_where_asked():
    assert _reason(size=1) == ""
    assert _reason(size=9_999, min_bytes=10_000) == "image_bytes"
    assert _reason(size=10_000, min_bytes=10_000) == ""
    assert _reason(size=20_001, max_bytes=20_000) == "image_bytes"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("https://a.org/static/Logo2x.PNG", "image_name"),
        ("https://a.org/wp-content/plugins/x.jpg", "image_name"),
        ("favicon.ico", "image_name"),
        ("https://cdn.a.org/a/b.jpg?widget=1", "image_name"),
        ("buy_button.png", "image_name"),
        ("silicon-valley.jpg", ""),
        ("an-iconic-silicon-chip.jpg", ""),
        ("silicon-logo.jpg", "image_name"),
        ("butterfly.jpg", ""),
        ("", ""),
    ],
)
def test_names_of_decoration_are_known(name, reason):
    assert _reason(name=name) == reason
    assert _reason(name=name, words=()) == ""


def _png(pixels):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_colours_are_those_that_are_seen():
    pixels = np.full((256, 256, 3), 255, np.uint8)
    assert pictures.colours(_png(pixels)) == 1
    pixels[:64] = (255, 0, 0)
    pixels[64:128] = (0, 0, 255)
    assert pictures.colours(_png(pixels)) == 3
    pixels[200, 200] = 0  # a dot that is on less than 0.1 %
    assert pictures.colours(_png(pixels)) == 3


def test_blank_pictures_go_and_no_rule_lets_them_pass():
    blank = _png(np.full((200, 300, 3), 40, np.uint8))
    found = pictures.plain(blank)
    assert found == ("image_colours", "1, must be at least 2")
    assert pictures.plain(blank, Rules(min_colours=0)) is None


def test_real_photos_have_colours_and_so_have_nearly_all_drawings(real_data):
    photos = sorted((real_data / "captions/flickr8k_1000/images").glob("*"))[::10]
    drawings = sorted((real_data / "interleaved/images").glob("*"))[::2]
    assert min(pictures.colours(path.read_bytes()) for path in photos) > 20
    dropped = [path for path in drawings if pictures.plain(path.read_bytes())]
    assert len(drawings) > 300
    assert len(dropped) <= 1

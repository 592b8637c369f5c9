"""Images of requests come from where they may, and no bomb is decoded."""

import base64
import io
import os
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import serving
import talking

from mmjax.serve import pictures
from mmjax.serve.limits import Limits
from mmjax.serve.problems import Problem

PIXELS = 1_000_000


def encoded(kind: str, **options) -> bytes:
    """Red above, blue below, 30 x 40."""
    pixels_hwc = np.zeros((40, 30, 3), np.uint8)
    pixels_hwc[:20, :, 0] = pixels_hwc[20:, :, 2] = 255
    file = io.BytesIO()
    PIL.Image.fromarray(pixels_hwc).save(file, kind, **options)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        end = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + end

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def refusal(call, *arguments) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments)
    assert caught.value.status == 400
    assert caught.value.param == "here"
    return caught.value


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_images_that_browsers_show_are_taken_as_they_are(kind):
    data = encoded(kind)
    found = pictures.image(data, "here", PIXELS)
    assert (found.data, found.width, found.height) == (data, 30, 40)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM", "ICO"])
def test_other_kinds_are_refused(kind):
    assert (
        "must be one of JPEG"
        in refusal(pictures.image, encoded(kind), "here", PIXELS).message
    )


def test_a_photo_is_turned_as_its_camera_says():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # shown, it is turned clockwise
    found = pictures.image(encoded("JPEG", exif=exif), "here", PIXELS)
    assert (found.width, found.height) == (40, 30)
    opened = PIL.Image.open(io.BytesIO(found.data))
    assert opened.size == (40, 30)
    assert opened.getpixel((35, 15))[0] > 200  # what was above is on the right
    assert opened.getpixel((5, 15))[2] > 200


@pytest.mark.parametrize("sides", [(40_000, 40_000), (12_000, 12_000), (1001, 1000)])
def test_what_says_it_is_too_large_is_not_decoded(sides, monkeypatch):
    monkeypatch.setattr(PIL.Image.Image, "load", lambda _: pytest.fail("decoded"))
    problem = refusal(pictures.image, bomb(*sides), "here", PIXELS)
    assert problem.code == "image_too_large"
    assert f"{PIXELS} pixels left" in problem.message


def test_a_bomb_is_refused_over_http_in_no_time_and_memory(site):
    url = "data:image/png;base64," + base64.b64encode(bomb(40_000, 40_000)).decode()
    found = site.ask([{"type": "image_url", "image_url": {"url": url}}])
    assert found.status == 400
    assert found.json["error"]["code"] == "image_too_large"


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff", b"hello" * 100])
def test_what_is_no_image_is_refused(data):
    assert refusal(pictures.image, data, "here", PIXELS).code == "invalid_image"


def test_a_data_url_holds_base64():
    image = talking.image(0)
    limits = Limits()
    assert pictures.encoded(serving.url(image), "here", limits) == image.data
    spelled = serving.url(image).replace("/", "%2F").replace("data", "DATA", 1)
    head, _, rest = spelled.partition(",")
    again = head.replace("%2F", "/") + "," + rest
    assert pictures.encoded(again, "here", limits) == image.data
    for url in ("data:image/png,abc", "data:image/png;base64", "data:;base64,?$"):
        assert refusal(pictures.encoded, url, "here", limits).code == "invalid_image"


@pytest.fixture
def folder(tmp_path):
    """Images inside a folder and outside it, and links between them."""
    inside = tmp_path / "images"
    (inside / "deep").mkdir(parents=True)
    for path in (inside / "a.png", inside / "deep" / "b.png", tmp_path / "secret.png"):
        path.write_bytes(talking.image(0).data)
    (inside / "out.png").symlink_to(tmp_path / "secret.png")
    (inside / "up").symlink_to(tmp_path)
    (inside / "in.png").symlink_to(inside / "deep" / "b.png")
    (inside / "ring.png").symlink_to(inside / "ring.png")
    os.mkfifo(inside / "pipe.png")
    return inside


@pytest.mark.parametrize("name", ["a.png", "deep/b.png", "deep/../a.png", "in.png"])
def test_a_file_below_the_folder_is_read(folder, name):
    limits = Limits(images=str(folder))
    assert pictures.encoded(name, "here", limits) == talking.image(0).data


LEAVING = ("../secret.png", "deep/../../secret.png", "out.png", "up/secret.png")
ABSENT = ("no.png", "deep", "", "ring.png", "pipe.png", "a\0.png", "x" * 5000)


@pytest.mark.parametrize("name", [*LEAVING, *ABSENT])
def test_what_leaves_the_folder_is_told_as_what_is_not_there(folder, name):
    limits = Limits(images=str(folder))
    problem = refusal(pictures.encoded, name, "here", limits)
    assert problem.message == "here: no such file below --images"


def test_absolute_paths_and_other_addresses_are_refused(folder):
    limits = Limits(images=str(folder))
    for url in (f"{folder}/a.png", f"file://{folder}/a.png", "ftp://h/a.png"):
        problem = refusal(pictures.encoded, url, "here", limits)
        assert "relative to --images" in problem.message
    for url in ("http://host/a.png", "HTTPS://host/a.png"):
        problem = refusal(pictures.encoded, url, "here", limits)
        assert "fetches nothing" in problem.message
    problem = refusal(pictures.encoded, "a.png", "here", Limits())
    assert "--images=FOLDER only" in problem.message
    small = Limits(images=str(folder), request_bytes=100)
    assert (
        "larger than 100" in refusal(pictures.encoded, "a.png", "here", small).message
    )

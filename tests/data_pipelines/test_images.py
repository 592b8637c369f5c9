"""Decoding: right pixels from any format, grey from what is damaged."""

import io

import cv2
import numpy as np
import PIL.Image
import pytest

from data_pipelines import images


def scene(width, height):
    """A smooth picture: red grows to the right, green downwards."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    blue = np.full_like(red, 60)
    return PIL.Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def encoded(image, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(data, size):
    out_hwc = np.full((size, size, 3), 99, np.uint8)
    return images.decode(data, out_hwc), out_hwc


@pytest.mark.parametrize(
    ("width", "height"),
    [(64, 64), (256, 256), (640, 480), (30, 20), (300, 40), (40, 300), (1, 1)],
)
def test_any_size_becomes_the_square(width, height):
    good, pixels_hwc = decoded(encoded(scene(width, height), quality=95), 64)
    assert good
    if min(width, height) < 2:
        return
    reference = scene(width, height).resize((64, 64), PIL.Image.Resampling.BICUBIC)
    difference = np.abs(pixels_hwc.astype(int) - np.asarray(reference))
    assert difference.mean() < 3


def test_an_image_of_the_right_size_is_the_decoders_own():
    data = encoded(scene(64, 64), quality=80)
    reference = np.asarray(PIL.Image.open(io.BytesIO(data)))
    difference = np.abs(decoded(data, 64)[1].astype(int) - reference)
    assert difference.max() <= 2


def test_shrinking_averages_what_it_drops():
    checkers = np.indices((512, 512)).sum(0) % 2 * 255
    image = PIL.Image.fromarray(checkers.astype(np.uint8)).convert("RGB")
    for data in (encoded(image, quality=100), encoded(image, "PNG")):
        good, pixels_hwc = decoded(data, 96)
        assert good
        assert np.abs(pixels_hwc.astype(int) - 127).max() < 30


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_jpegs_of_every_colour_space(mode):
    data = encoded(scene(80, 80).convert(mode), quality=95)
    reference = PIL.Image.open(io.BytesIO(data)).convert("RGB").resize((64, 64))
    good, pixels_hwc = decoded(data, 64)
    assert good
    assert np.abs(pixels_hwc.astype(int) - np.asarray(reference)).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP"])
def test_other_formats(kind):
    good, pixels_hwc = decoded(encoded(scene(80, 80), kind), 64)
    reference = np.asarray(scene(64, 64))
    assert good
    assert np.abs(pixels_hwc.astype(int) - reference).mean() < 12


def test_transparency_becomes_white():
    clear = PIL.Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    good, pixels_hwc = decoded(encoded(clear, "PNG"), 64)
    assert good
    assert (pixels_hwc == 255).all()


def test_progressive_jpegs():
    good, pixels_hwc = decoded(encoded(scene(200, 150), progressive=True), 64)
    assert good
    assert pixels_hwc.std() > 20


@pytest.mark.parametrize("size", [64, 200])
def test_damaged_images_are_grey(size):
    whole = encoded(scene(200, 200), quality=95)
    stripe = encoded(scene(200, 200), "PNG")
    for data in (b"", b"no image", whole[: len(whole) // 2], stripe[:300]):
        good, pixels_hwc = decoded(data, size)
        assert not good
        assert (pixels_hwc == images.GREY).all()


def test_stray_bytes_do_no_harm():
    whole = encoded(scene(64, 64))
    good, pixels_hwc = decoded(whole[:-2] + b"\x00\x00\x00" + whole[-2:], 64)
    assert good
    assert pixels_hwc.std() > 20


@pytest.mark.parametrize("size", [48, 96, 224])
def test_photos_come_closer_to_antialiased_bicubic_than_interpolation(real_data, size):
    folder = real_data / "captions" / "flickr8k_1000" / "images"
    ours, plain = [], []
    for path in sorted(folder.iterdir())[:20]:
        good, pixels_hwc = decoded(path.read_bytes(), size)
        assert good
        photo = PIL.Image.open(path).convert("RGB")
        reference = photo.resize((size, size), PIL.Image.Resampling.BICUBIC)
        linear = cv2.resize(np.asarray(photo), (size, size))
        ours.append(np.abs(pixels_hwc.astype(int) - reference).mean())
        plain.append(np.abs(linear.astype(int) - reference).mean())
    assert np.mean(ours) < 0.7 * np.mean(plain)


def test_what_was_decoded_before_leaves_nothing_behind(monkeypatch):
    sizes = [(300, 200), (90, 70), (700, 500), (64, 80), (300, 200), (1200, 900)]
    files = [encoded(scene(*size), quality=90) for size in sizes]
    together = [decoded(data, 64)[1] for data in files]
    monkeypatch.setattr(images, "_KEPT", 0)  # fresh memory for each
    for data, pixels_hwc in zip(files, together):
        np.testing.assert_array_equal(decoded(data, 64)[1], pixels_hwc)

"""Perceptual hashes: the same picture in other bytes is found, others are not."""

import io
import itertools
import random

import cv2
import numpy as np
import PIL.Image
import pytest

from data_pipelines.prepare import picture_hash


def _encoded(picture, form="JPEG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def _cropped(picture, share):
    """Without `share` of each side."""
    width, height = picture.size
    left, top = round(share * width), round(share * height)
    return picture.crop((left, top, width - left, height - top))


@pytest.fixture(scope="module")
def photos(real_data):
    paths = sorted((real_data / "captions/flickr8k_1000/images").glob("*.jpg"))[::5]
    return [PIL.Image.open(path).convert("RGB") for path in paths]


@pytest.fixture(scope="module")
def hashes(photos):
    return [picture_hash.perceptual(_encoded(one, quality=95)) for one in photos]


@pytest.mark.parametrize(
    ("change", "share"),  # of photos that must be found
    [
        (lambda p: _encoded(p.resize((p.width // 2, p.height // 2))), 1.0),
        (lambda p: _encoded(p.resize((2 * p.width, 2 * p.height))), 1.0),
        (lambda p: _encoded(p.resize((256, 256))), 1.0),
        (lambda p: _encoded(p, quality=30), 1.0),
        (lambda p: _encoded(p, "WEBP", quality=50), 0.99),
        (lambda p: _encoded(p, "PNG"), 1.0),
        (lambda p: _encoded(p.convert("L")), 1.0),
        (lambda p: _encoded(_cropped(p, 0.005)), 0.99),
        (lambda p: _encoded(_cropped(p, 0.01)), 0.9),
    ],
    ids=("half", "double", "square", "q30", "webp", "png", "grey", "crop_1", "crop_2"),
)
def test_real_photos_are_found_in_other_bytes(photos, hashes, change, share):
    found = [picture_hash.perceptual(change(photo)) for photo in photos]
    bits = [(a ^ b).bit_count() for a, b in zip(hashes, found)]
    assert np.mean([n <= picture_hash.DISTANCE for n in bits]) >= share


def test_different_real_photos_are_far_apart(hashes):
    bits = [(a ^ b).bit_count() for a, b in itertools.combinations(hashes, 2)]
    assert min(bits) > 2 * picture_hash.DISTANCE


def test_the_bits_are_signs_of_low_frequencies():
    """Against the cosine transform written as its definition."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    large = np.repeat(np.repeat(pixels, 4, 0), 4, 1)
    picture = PIL.Image.fromarray(large)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(float)
    n = np.arange(32)
    waves = np.cos(np.pi * (2 * n + 1) * n[:8, None] / 64)
    scale = np.where(n[:8] == 0, 32**-0.5, 4**-1.0)
    lowest = scale[:, None] * (waves @ grey @ waves.T) * scale
    bits = (np.rint(lowest) > np.median(np.rint(lowest).ravel()[1:])).ravel()
    expected = int("".join("01"[bit] for bit in bits.astype(int)), 2)
    assert picture_hash.perceptual(_encoded(picture, "PNG")) == expected


def test_plain_and_broken_images_have_no_hash():
    for colour in ("white", "black", "red"):
        plain = PIL.Image.new("RGB", (300, 200), colour)
        assert picture_hash.perceptual(_encoded(plain)) is None
    assert picture_hash.perceptual(b"\xff\xd8\xff no") is None


@pytest.mark.parametrize(("distance", "intact"), [(0, 1), (3, 1), (4, 2), (4, 4)])
def test_hashes_within_the_distance_share_a_key(distance, intact):
    rng = random.Random(3)
    for _ in range(300):
        one = rng.getrandbits(64)
        other = one
        for bit in rng.sample(range(64), distance):
            other ^= 1 << bit
        shared = set(picture_hash.keys(one, distance, intact)) & set(
            picture_hash.keys(other, distance, intact)
        )
        assert shared
    assert len(picture_hash.keys(one)) == 15
    away = one ^ (2**64 - 1)
    assert not set(picture_hash.keys(one)) & set(picture_hash.keys(away))


def test_keys_that_cannot_be_made_are_refused():
    with pytest.raises(ValueError, match="distance 4 with 0 blocks"):
        picture_hash.keys(1, 4, 0)
    with pytest.raises(ValueError, match="at most 64"):
        picture_hash.keys(1, 60, 5)

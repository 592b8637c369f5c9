"""Images of a user: upright baseline JPEGs, or a reason."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from data_pipelines.prepare import photos


def _picture(width=60, height=40) -> PIL.Image.Image:
    """Red on the left, blue on the right."""
    pixels_hwc = np.zeros((height, width, 3), np.uint8)
    pixels_hwc[:, : width // 2, 0] = 255
    pixels_hwc[:, width // 2 :, 2] = 255
    return PIL.Image.fromarray(pixels_hwc)


def _encoded(picture: PIL.Image.Image, kind="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _opened(image) -> PIL.Image.Image:
    opened = PIL.Image.open(io.BytesIO(image.data))
    opened.load()
    assert opened.size == (image.width, image.height)
    assert opened.format == "JPEG"
    assert "progressive" not in opened.info
    return opened


def test_a_small_baseline_jpeg_passes_unchanged():
    data = _encoded(_picture())
    assert photos.convert(data, 448) == photos.Image(data, 60, 40)
    grey = _encoded(_picture().convert("L"))
    assert photos.convert(grey, 60).data == grey


def test_a_large_image_is_shrunk_in_proportion_and_a_small_one_never_enlarged():
    large = _opened(photos.convert(_encoded(_picture(900, 300)), 448))
    assert large.size == (448, 149)
    thin = _opened(photos.convert(_encoded(_picture(3000, 1), "PNG"), 100))
    assert thin.size == (100, 1)
    small = _opened(photos.convert(_encoded(_picture(20, 30), "PNG"), 448))
    assert small.size == (20, 30)


def test_only_what_its_camera_says_to_turn_is_turned():
    for kind in ("JPEG", "PNG", "WEBP"):
        data = _encoded(_picture(), kind)
        assert photos.upright(data) == photos.Image(data, 60, 40)
    exif = PIL.Image.Exif()
    exif[0x0112] = 1
    data = _encoded(_picture(), exif=exif)
    assert photos.upright(data).data == data
    exif[0x0112] = 3  # upside down
    turned = _opened(photos.upright(_encoded(_picture(), exif=exif)))
    assert turned.size == (60, 40)
    assert turned.getpixel((55, 20))[0] > 200
    assert turned.getpixel((5, 20))[2] > 200


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_other_formats_become_baseline_jpeg(kind):
    opened = _opened(photos.convert(_encoded(_picture(), kind), 448))
    assert opened.mode == "RGB"
    assert opened.getpixel((5, 20))[0] > 200
    assert opened.getpixel((55, 20))[2] > 200


def test_a_progressive_or_cmyk_jpeg_is_written_again():
    for data in (
        _encoded(_picture(), progressive=True),
        _encoded(_picture().convert("CMYK")),
    ):
        assert _opened(photos.convert(data, 448)).mode == "RGB"


def test_an_image_is_turned_as_its_exif_says():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turned a quarter clockwise to be upright
    opened = _opened(photos.convert(_encoded(_picture(), exif=exif), 448))
    assert opened.size == (40, 60)
    assert opened.getpixel((20, 5))[0] > 200  # what was left is on top
    assert opened.getexif().get(0x0112, 1) == 1


def test_transparency_becomes_white():
    layer = PIL.Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    opened = _opened(photos.convert(_encoded(layer, "PNG"), 448))
    assert min(opened.getpixel((16, 16))) > 250
    palette = PIL.Image.new("P", (32, 32), 0)
    palette.putpalette([0, 0, 0] * 256)
    data = _encoded(palette, "PNG", transparency=0)
    assert min(_opened(photos.convert(data, 448)).getpixel((16, 16))) > 250


def test_sixteen_bits_become_eight():
    grey = PIL.Image.fromarray(np.full((8, 8), 32768, np.uint16))
    opened = _opened(photos.convert(_encoded(grey, "PNG"), 448))
    assert abs(opened.getpixel((4, 4))[0] - 128) <= 2


def _bomb(width: int, height: int) -> bytes:
    """A PNG that claims to be huge in a few bytes."""

    def chunk(name, data):
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    parts = (b"IHDR", header), (b"IDAT", body), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "unreadable_image"),
        (b"not an image", "unreadable_image"),
        (_encoded(_picture(400, 400))[:1500], "unreadable_image"),
        (_encoded(_picture(400, 400), "PNG")[:200], "unreadable_image"),
        (_bomb(11_000, 10_000), "image_too_large"),
        (_bomb(60_000, 60_000), "image_too_large"),
    ],
)
def test_what_cannot_be_used_has_a_reason(data, reason):
    with pytest.raises(photos.Refused) as refused:
        photos.convert(data, 448)
    assert refused.value.reason == reason
    assert refused.value.detail


def test_only_files_inside_the_folder_are_read(tmp_path):
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    data = _encoded(_picture())
    (folder / "deep" / "a.jpg").write_bytes(data)
    (tmp_path / "secret.jpg").write_bytes(data)
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "ring.jpg").symlink_to(folder / "ring.jpg")
    assert photos.read(str(folder), "deep/a.jpg") == data
    assert photos.read(str(folder), "deep/../deep/a.jpg") == data
    assert photos.read(str(folder), str(folder / "deep" / "a.jpg")) == data
    reasons = {
        "../secret.jpg": "image_outside_folder",
        str(tmp_path / "secret.jpg"): "image_outside_folder",
        "link.jpg": "image_outside_folder",
        "absent.jpg": "missing_image",
        "deep": "missing_image",
        "nul\0.jpg": "missing_image",
        "ring.jpg": "missing_image",
        "https://example.org/a.jpg": "image_not_local",
    }
    for name, reason in reasons.items():
        with pytest.raises(photos.Refused) as refused:
            photos.read(str(folder), name)
        assert refused.value.reason == reason, name


def test_the_same_picture_under_two_names_has_one_digest(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(_encoded(_picture()))
    one, two = (photos.load(str(tmp_path), name, 448) for name in ("a.jpg", "b.jpg"))
    assert one.digest == two.digest
    assert one.image == two.image

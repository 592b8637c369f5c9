"""Images of a user: found, decoded whole, upright, and as baseline JPEG."""

import hashlib
import io
import pathlib
import warnings
from typing import NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageOps

from data_pipelines.records import Image

MAX_PIXELS = 100_000_000  # larger images are refused before they are decoded
QUALITY = 90
_UPRIGHT = 1  # the EXIF orientation of an image that needs no turning
_ORIENTATION = 0x0112


class Refused(Exception):  # noqa: N818
    """An image that can't be used, and why."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Photo(NamedTuple):
    """An image as it goes into a record."""

    image: Image
    digest: bytes  # of the original file: the same picture under any name


def load(folder: str, name: str, max_side: int) -> Photo:
    """The image file `name` of `folder`, not larger than `max_side` pixels a side.

    A baseline JPEG that is upright and small enough passes unchanged. Raises Refused.
    """
    data = read(folder, name)
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return Photo(convert(data, max_side), digest)


def read(folder: str, name: str) -> bytes:
    """Bytes of a file inside the folder (links are followed first). Raises Refused."""
    if "://" in name:
        raise Refused("image_not_local", f"{name}: download it first")
    try:
        return inside(folder, name).read_bytes()
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a ring of links
        detail = getattr(error, "strerror", None) or str(error)
        raise Refused("missing_image", f"{name}: {detail}") from error


def inside(folder: str, name: str) -> pathlib.Path:
    """The path of a file, links followed; raises Refused where that leaves the folder.

    OSError, ValueError or RuntimeError where the name can't be one.
    """
    root = pathlib.Path(folder).resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise Refused("image_outside_folder", f"{name}: not inside {folder}")
    return path


def size(data: bytes) -> tuple[int, int]:
    """Width and height of an image that is known to be readable, before any turning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with PIL.Image.open(io.BytesIO(data)) as opened:
            return opened.size


def upright(data: bytes) -> Image:
    """A readable image as it is, or as JPEG where its camera says how to turn it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with PIL.Image.open(io.BytesIO(data)) as opened:
            turned = "exif" in opened.info and _turned(opened)
            width, height = opened.size
    return convert(data, max(width, height)) if turned else Image(data, width, height)


def convert(data: bytes, max_side: int) -> Image:
    """Any image that Pillow reads, as baseline JPEG. Raises Refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken EXIF; large images are refused
            return _convert(data, max_side)
    except Refused:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise Refused("image_too_large", str(error)) from error
    except Exception as error:
        # Decoders of damaged files raise whatever their parsers stumble over:
        # SyntaxError, struct.error, zlib.error, IndexError...
        raise Refused("unreadable_image", f"{type(error).__name__}: {error}") from error


def _convert(data: bytes, max_side: int) -> Image:
    opened = PIL.Image.open(io.BytesIO(data))
    width, height = opened.size
    if width * height > MAX_PIXELS:
        size = f"{width} x {height} pixels, more than {MAX_PIXELS}"
        raise Refused("image_too_large", size)
    opened.load()
    if _passes(opened, max_side):
        return Image(data, width, height)
    photo = _rgb(PIL.ImageOps.exif_transpose(opened))
    if max(photo.size) > max_side:
        scale = max_side / max(photo.size)
        size = [max(1, round(side * scale)) for side in photo.size]
        photo = photo.resize((size[0], size[1]), PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=QUALITY)
    return Image(buffer.getvalue(), *photo.size)


def _turned(opened: PIL.Image.Image) -> bool:
    return opened.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT


def _passes(opened: PIL.Image.Image, max_side: int) -> bool:
    upright = not _turned(opened)
    baseline = opened.format == "JPEG" and not opened.info.get("progressive")
    plain = opened.mode in ("RGB", "L")
    return upright and baseline and plain and max(opened.size) <= max_side


def _rgb(photo: PIL.Image.Image) -> PIL.Image.Image:
    """Three channels; what is transparent becomes white, 16 bits become 8."""
    if photo.mode.startswith("I;16"):
        grey = np.asarray(photo).astype(np.uint16) >> 8
        return PIL.Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if photo.has_transparency_data:
        layer = photo.convert("RGBA")
        white = PIL.Image.new("RGBA", layer.size, "white")
        return PIL.Image.alpha_composite(white, layer).convert("RGB")
    return photo.convert("RGB")

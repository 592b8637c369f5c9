"""Encoded images to pixels: decoded once, into crops straight in the batch."""

import io
import threading

import cv2
import numpy as np
import PIL.Image
import simplejpeg
from jaxtyping import UInt8

from data_pipelines import crops
from data_pipelines.crops import Crops, Recipe
from mmjax.tiling import Grid

GREY = 127  # every channel of what can't be decoded
_KEPT = 16 << 20  # bytes at most of decoded pixels that a thread uses again

_scratch = threading.local()

cv2.setNumThreads(0)  # the loader's own threads do the parallel work


def decode(data: bytes, out_hwc: UInt8[np.ndarray, "h w c"]) -> bool:
    """Writes an encoded image, warped to the square `out_hwc`, as RGB; see below."""
    return decode_crops(data, Recipe(len(out_hwc)), crops.NO_TILES, out_hwc[None])


def decode_crops(data: bytes, recipe: Recipe, grid: Grid, out_Chwc: Crops) -> bool:
    """Writes the crops of an encoded image that has these tiles, as RGB.

    It is decoded once. True if it could be; otherwise all crops are grey.
    """
    try:
        if not (
            simplejpeg.is_jpeg(data) and _decode_jpeg(data, recipe, grid, out_Chwc)
        ):
            crops.write(_decode_any(data), recipe, grid, out_Chwc)
    except Exception:  # decoders raise whatever they like on damaged bytes
        out_Chwc[...] = GREY
        return False
    return True


def _decode_jpeg(data: bytes, recipe: Recipe, grid: Grid, out_Chwc: Crops) -> bool:
    """Writes a JPEG; False where it isn't plain enough for the fast decoder."""
    size = recipe.size
    try:
        *sides, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        height, width = map(int, sides)
        if colorspace not in ("YCbCr", "Gray", "RGB"):
            return False
        if (height, width) == (size, size) and grid == crops.NO_TILES:
            simplejpeg.decode_jpeg(data, buffer=out_Chwc)
            return True
        tall, wide = _least(recipe, grid, height, width)
        pixels_hwc = simplejpeg.decode_jpeg(
            data, min_height=tall, min_width=wide, buffer=_memory(height * width * 3)
        )
    except ValueError:
        # Warnings count as errors here. Pillow tells stray bytes, which do no harm,
        # from a file that was cut off.
        return False
    crops.write(pixels_hwc, recipe, grid, out_Chwc)
    return True


def _least(recipe: Recipe, grid: Grid, height: int, width: int) -> tuple[int, int]:
    """Sides that a JPEG keeps at least while it is decoded; 0 and 0: its own.

    Averaging areas goes on where the decoder stopped; a filter sees every pixel.
    """
    if recipe.interpolation != "area":
        return 0, 0
    tall, wide = crops.largest(recipe, grid, height, width)
    # Scaling while decoding pays from a half on, as it has fast code for halves.
    return (tall, wide) if height >= 2 * tall and width >= 2 * wide else (0, 0)


def _memory(size: int) -> np.ndarray | None:
    """Memory of this thread, for so many bytes at least; None: too many to be kept.

    New memory is cleared by the kernel page by page, a tenth of the time of decoding.
    """
    if size > _KEPT:
        return None
    memory = getattr(_scratch, "memory", None)
    if memory is None or memory.size < size:
        memory = _scratch.memory = np.empty(size, np.uint8)
    return memory


def _decode_any(data: bytes) -> np.ndarray:
    """Whatever Pillow reads; transparency becomes white. Raises on damaged bytes."""
    with PIL.Image.open(io.BytesIO(data)) as image:
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            white = PIL.Image.new("RGBA", image.size, "white")
            return np.asarray(PIL.Image.alpha_composite(white, rgba).convert("RGB"))
        return np.asarray(image.convert("RGB"))

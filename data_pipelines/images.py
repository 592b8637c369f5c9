"""Encoded images to pixels: decoded, and warped to a square straight in the batch."""

import io
import threading

import cv2
import numpy as np
import PIL.Image
import simplejpeg
from jaxtyping import UInt8

GREY = 127  # every channel of what can't be decoded
_KEPT = 16 << 20  # bytes at most of decoded pixels that a thread uses again

_scratch = threading.local()

cv2.setNumThreads(0)  # the loader's own threads do the parallel work


def decode(data: bytes, out_hwc: UInt8[np.ndarray, "h w c"]) -> bool:
    """Writes an encoded image, warped to the square `out_hwc`, as RGB.

    True if it could be decoded; otherwise `out_hwc` is grey. Shrinking averages areas
    (a large JPEG first shrinks while it is decoded), enlarging is bicubic.
    """
    try:
        if not (simplejpeg.is_jpeg(data) and _decode_jpeg(data, out_hwc)):
            _resize(_decode_any(data), out_hwc)
    except Exception:  # decoders raise whatever they like on damaged bytes
        out_hwc[...] = GREY
        return False
    return True


def _decode_jpeg(data: bytes, out_hwc: np.ndarray) -> bool:
    """Writes a JPEG; False where it isn't plain enough for the fast decoder."""
    size = out_hwc.shape[0]
    try:
        *sides, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        height, width = map(int, sides)
        if colorspace not in ("YCbCr", "Gray", "RGB"):
            return False
        if (height, width) == (size, size):
            simplejpeg.decode_jpeg(data, buffer=out_hwc)
            return True
        # Scaling while decoding pays from a half on, as it has fast code for halves.
        least = size if min(height, width) >= 2 * size else 0
        pixels_hwc = simplejpeg.decode_jpeg(
            data, min_height=least, min_width=least, buffer=_memory(height * width * 3)
        )
    except ValueError:
        # Warnings count as errors here. Pillow tells stray bytes, which do no harm,
        # from a file that was cut off.
        return False
    _resize(pixels_hwc, out_hwc)
    return True


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


def _resize(pixels_hwc: np.ndarray, out_hwc: np.ndarray) -> None:
    height, width, _ = pixels_hwc.shape
    size = out_hwc.shape[0]
    if min(height, width) < size and max(height, width) >= 2 * size:
        # One side shrinks a lot, the other grows: averaging areas is for both or none.
        inside = min(width, size), min(height, size)
        pixels_hwc = cv2.resize(pixels_hwc, inside, interpolation=cv2.INTER_AREA)
        height, width, _ = pixels_hwc.shape
    shrinks = height >= size and width >= size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    cv2.resize(pixels_hwc, (size, size), dst=out_hwc, interpolation=method)

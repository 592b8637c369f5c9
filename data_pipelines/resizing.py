"""Pixels to another size: interpolations, and how a whole image becomes a square.

All of them write into contiguous memory that is given, which has the size they make.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
import PIL.Image
from jaxtyping import UInt8

Pixels = UInt8[np.ndarray, "h w c"]
Sides = tuple[int, int]  # height, width
Box = tuple[float, float, float, float]  # top, left, bottom, right: the part meant
Colour = tuple[int, int, int]
Interpolation = Callable[[Pixels, Pixels, Box | None], None]


# Up to here bilinear samples, of two pixels each way, are as good as averages of areas:
# against Lanczos, photos are off by 3.5 and 3.3 of 255 at 1.33, by 3.3 and 3.0 at 1.5
# (Pillow's antialiased bilinear filter: 3.9), and by 4.7 and 3.0 at 1.75. They take a
# third of the time.
_BILINEAR = 1.5


def area(pixels_hwc: Pixels, out_hwc: Pixels, box: Box | None = None) -> None:
    """Shrinks by averaging areas, or a little bilinearly; enlarges bicubically."""
    if box is not None:
        _area_of_part(pixels_hwc, out_hwc, box)
        return
    height, width, _ = pixels_hwc.shape
    tall, wide, _ = out_hwc.shape
    grows = height < tall or width < wide
    if grows and (height >= 2 * tall or width >= 2 * wide):
        # One side shrinks a lot, the other grows: averaging areas is for both or none.
        inside = min(width, wide), min(height, tall)
        pixels_hwc = cv2.resize(pixels_hwc, inside, interpolation=cv2.INTER_AREA)
    little = height <= _BILINEAR * tall and width <= _BILINEAR * wide
    method = cv2.INTER_LINEAR if little else cv2.INTER_AREA
    if grows:
        method = cv2.INTER_CUBIC
    cv2.resize(pixels_hwc, (wide, tall), dst=out_hwc, interpolation=method)


def _area_of_part(pixels_hwc: Pixels, out_hwc: Pixels, box: Box) -> None:
    """A part whose edges may lie between pixels: more is resized, and then cut.

    What is further from it than its own sides is left out: a line of 10,000 pixels,
    enlarged whole, would be a plane of 10,000 x 10,000.
    """
    top, left, bottom, right = box
    tall, wide, _ = out_hwc.shape
    down, across = (bottom - top) / tall, (right - left) / wide
    low, start = max(0, int(2 * top - bottom)), max(0, int(2 * left - right))
    near_hwc = pixels_hwc[low : int(2 * bottom - top) + 1]
    near_hwc = near_hwc[:, start : int(2 * right - left) + 1]
    height, width, _ = near_hwc.shape
    sides = (max(tall, round(height / down)), max(wide, round(width / across)))
    whole_hwc = np.empty((*sides, 3), np.uint8)
    area(near_hwc, whole_hwc)
    y, x = round((top - low) / down), round((left - start) / across)
    y, x = min(y, sides[0] - tall), min(x, sides[1] - wide)
    out_hwc[...] = whole_hwc[y : y + tall, x : x + wide]


def _pillow(method: PIL.Image.Resampling) -> Interpolation:
    """A filter of Pillow's: antialiased, as the peers' image processors have it."""

    def resize(pixels_hwc: Pixels, out_hwc: Pixels, box: Box | None = None) -> None:
        sides = (out_hwc.shape[1], out_hwc.shape[0])
        edges = None if box is None else (box[1], box[0], box[3], box[2])
        image = PIL.Image.fromarray(pixels_hwc)
        out_hwc[...] = np.asarray(image.resize(sides, method, box=edges))

    return resize


INTERPOLATIONS: dict[str, Interpolation] = {
    "area": area,
    "bicubic": _pillow(PIL.Image.Resampling.BICUBIC),
    "bilinear": _pillow(PIL.Image.Resampling.BILINEAR),
    "lanczos": _pillow(PIL.Image.Resampling.LANCZOS),
}


def warp(
    pixels_hwc: Pixels, out_hwc: Pixels, interpolation: Interpolation, colour: Colour
) -> None:
    """Each side becomes the square's, whatever the aspect."""
    interpolation(pixels_hwc, out_hwc, None)


def crop(
    pixels_hwc: Pixels, out_hwc: Pixels, interpolation: Interpolation, colour: Colour
) -> None:
    """The short side becomes the square's, and the middle of the long one is taken.

    As CLIP's; only what is seen is resized, however long the image is.
    """
    height, width, _ = pixels_hwc.shape
    side = len(out_hwc)
    whole = cropped_sides(height, width, side)
    # Cut at whole pixels of the resized image, which are fractions of the image's own.
    top, left = ((long - side) // 2 for long in whole)
    down, across = height / whole[0], width / whole[1]
    box = (top * down, left * across, (top + side) * down, (left + side) * across)
    interpolation(pixels_hwc, out_hwc, box)


def letterbox(
    pixels_hwc: Pixels, out_hwc: Pixels, interpolation: Interpolation, colour: Colour
) -> None:
    """Padded to a square, on both sides alike, then resized: LLaVA's `pad`.

    One axis after the other, so that the padded square is never held: of an image of
    1 x 10,000 pixels it would have 10^8.
    """
    height, width, _ = pixels_hwc.shape
    if height == width:
        interpolation(pixels_hwc, out_hwc, None)
        return
    side, longest = len(out_hwc), max(height, width)
    wide = width == longest
    strip_hwc = np.empty((height, side, 3) if wide else (side, width, 3), np.uint8)
    interpolation(pixels_hwc, strip_hwc, None)
    sides = (longest, side) if wide else (side, longest)
    interpolation(padded(strip_hwc, sides, colour), out_hwc, None)


RESIZES: dict[str, Callable[[Pixels, Pixels, Interpolation, Colour], None]] = {
    "warp": warp,
    "crop": crop,
    "letterbox": letterbox,
}


def cropped_sides(height: int, width: int, side: int) -> Sides:
    """What `crop` makes of a whole image, before it is cut."""
    if height <= width:
        return side, side * width // height
    return side * height // width, side


def fitted_sides(height: int, width: int, within: Sides) -> Sides:
    """The largest sides inside others that keep the aspect, rounded up."""
    tall, wide = within
    if wide / width < tall / height:
        return min(math.ceil(height * (wide / width)), tall), wide
    return tall, min(math.ceil(width * (tall / height)), wide)


def padded(pixels_hwc: Pixels, sides: Sides, colour: Colour) -> Pixels:
    """The pixels in the middle of an area of this colour; itself, if they fill it.

    Of an odd margin, the larger half lies below or to the right.
    """
    height, width, _ = pixels_hwc.shape
    if (height, width) == sides:
        return pixels_hwc
    whole_hwc = np.empty((*sides, 3), np.uint8)
    whole_hwc[...] = colour
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    whole_hwc[top : top + height, left : left + width] = pixels_hwc
    return whole_hwc

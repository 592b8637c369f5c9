"""Which positions the tokens of a tiled image take in its row: of its size alone.

The whole image's tokens come first. With a `Map` those of the tiles follow as the rows
of one picture, as in LLaVA-NeXT; without one, tile after tile. Of 2 tiles of 2 x 2
tokens beside each other, whose upper and lower rows show nothing of a wide image:

    whole   tiles       positions, unpadded and with newlines
    0 1     4 5  8  9   0 1 2 3 4 5 8 9 NEWLINE 6 7 10 11 NEWLINE
    2 3     6 7 10 11
"""

from typing import NamedTuple

import numpy as np

from mmjax.batch import NEWLINE
from mmjax.tiling import Grid

Count = int | np.ndarray

_PART = 1 << 20  # images at a time, which bounds the memory


class Map(NamedTuple):
    """How the tokens of an image's tiles become rows of one picture."""

    side: int  # of the square of tokens that a crop becomes
    unpad: bool  # rows and columns that show nothing of the image are left out
    newline: bool  # a learned vector ends each row


def positions(
    layout: Map, rows: Count, columns: Count, width: Count, height: Count
) -> np.ndarray:
    """Positions of images by rows and columns of tiles and sides in pixels; int32.

    All are arrays of one shape, or numbers.
    """
    facts = np.broadcast_arrays(rows, columns, width, height)
    found = np.empty(facts[0].shape, np.int32)
    flat, facts = found.reshape(-1), [fact.ravel() for fact in facts]
    for start in range(0, found.size, _PART):
        part = slice(start, start + _PART)
        down, across = kept(layout, *(fact[part] for fact in facts))
        flat[part] = layout.side**2 + down * (across + layout.newline)
    return found


def kept(
    layout: Map, rows: Count, columns: Count, width: Count, height: Count
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the picture's tokens that get positions; int64.

    What transformers' `unpad_image` keeps: of the axis on which the tiles are longer
    than the image's aspect ratio says, so many tokens as are left of its length in
    tokens, rounded down, where both margins are whole tokens and equal. (It rounds
    quotients of floats to 7 decimals first, which for sides below 10^7 pixels is this
    division of integers.)
    """
    rows, columns, width, height = (
        np.asarray(count, np.int64) for count in (rows, columns, width, height)
    )
    down, across = rows * layout.side, columns * layout.side
    if not layout.unpad:
        return down, across
    wide = width * down > across * height
    shown_down = np.where(wide, height * across // width, down)
    shown_across = np.where(wide, across, width * down // height)
    return down - _margins(down, shown_down), across - _margins(across, shown_across)


def _margins(tokens: np.ndarray, shown: np.ndarray) -> np.ndarray:
    return (tokens - shown) // 2 * 2


def order(layout: Map, grid: Grid, width: int, height: int) -> np.ndarray:
    """What stands at each position of an image, int32: a token of its crops or NEWLINE.

    Tokens count through the crops, the whole image's first.
    """
    (rows, columns), side = grid, layout.side
    of_crop = side**2
    tiles = np.arange(of_crop, (1 + rows * columns) * of_crop, dtype=np.int32)
    picture = tiles.reshape(rows, columns, side, side).transpose(0, 2, 1, 3)
    picture = picture.reshape(rows * side, columns * side)
    down, across = map(int, kept(layout, rows, columns, width, height))
    top, left = (len(picture) - down) // 2, (picture.shape[1] - across) // 2
    picture = picture[top : top + down, left : left + across]
    if layout.newline:
        ends = np.full((down, 1), NEWLINE, np.int32)
        picture = np.concatenate([picture, ends], axis=1)
    return np.concatenate([np.arange(of_crop, dtype=np.int32), picture.ravel()])

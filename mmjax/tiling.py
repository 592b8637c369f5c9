"""Which tiles an image is cut into: of its size alone, before it is decoded.

An image of R x C tiles takes 1 + R * C crops: the whole image, seen small, then the
tiles in reading order.
"""

import numpy as np

Grid = tuple[int, int]  # rows, columns

# The grids of a tiling where a config names none.
GRIDS: dict[str, tuple[Grid, ...]] = {
    "mm1": ((2, 2),),
    "anyres": ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3)),  # LLaVA-NeXT's
}


_PART = 1 << 20  # images at a time, which bounds the memory


def choose(
    grids: tuple[Grid, ...], size: int, width: np.ndarray, height: np.ndarray
) -> np.ndarray:
    """The grid that suits each image best, as its place in `grids`; tiles of `size`.

    As LLaVA-NeXT chooses (its `select_best_resolution`): the image is fitted into the
    grid with its aspect kept, and the grid counts that shows most of its pixels
    (enlarging shows no more than there are); of equals the one with the least empty
    area, of these the first. Sizes are arrays of pixels, of one shape; int16.
    """
    chosen = np.zeros(np.broadcast_shapes(np.shape(width), np.shape(height)), np.int16)
    if len(grids) > 1:
        flat = chosen.reshape(-1)
        width, height = (
            np.broadcast_to(side, chosen.shape).ravel() for side in (width, height)
        )
        for start in range(0, chosen.size, _PART):
            part = slice(start, start + _PART)
            flat[part] = _best(grids, size, width[part], height[part])
    return chosen


def _best(
    grids: tuple[Grid, ...], size: int, width: np.ndarray, height: np.ndarray
) -> np.ndarray:
    width, height = width.astype(np.int64), height.astype(np.int64)
    chosen = np.zeros(len(width), np.int16)
    shown, empty = np.full(len(width), -1), np.zeros(len(width), np.int64)
    for number, (rows, columns) in enumerate(grids):
        tall, wide = rows * size, columns * size
        scale = np.minimum(wide / width, tall / height)
        inside = (width * scale).astype(np.int64) * (height * scale).astype(np.int64)
        shows = np.minimum(inside, width * height)
        leaves = tall * wide - shows
        better = (shows > shown) | ((shows == shown) & (leaves < empty))
        chosen[better] = number
        shown[better], empty[better] = shows[better], leaves[better]
    return chosen

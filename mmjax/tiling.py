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


def choose(
    grids: tuple[Grid, ...], size: int, width: np.ndarray, height: np.ndarray
) -> np.ndarray:
    """The grid that suits each image best, as its place in `grids`; tiles of `size`.

    As LLaVA-NeXT chooses (its `select_best_resolution`): the image
    is fitted into the grid with its aspect kept, and the grid counts that shows most of
    its pixels (enlarging shows no more than there are); of equals the one with the
    least empty area, of these the first. Sizes are arrays of pixels, of one shape.
    """
    width, height = (np.asarray(side, np.int64) for side in (width, height))
    shape = np.broadcast_shapes(width.shape, height.shape)
    chosen = np.zeros(shape, np.int64)
    if len(grids) < 2:
        return chosen
    shown, empty = np.full(shape, -1), np.zeros(shape, np.int64)
    for number, (rows, columns) in enumerate(grids):
        tall, wide = rows * size, columns * size
        scale = np.minimum(wide / width, tall / height)
        inside = (width * scale).astype(np.int64) * (height * scale).astype(np.int64)
        shows = np.minimum(inside, width * height)
        leaves = tall * wide - shows
        better = (shows > shown) | ((shows == shown) & (leaves < empty))
        chosen = np.where(better, number, chosen)
        shown, empty = np.where(better, shows, shown), np.where(better, leaves, empty)
    return chosen

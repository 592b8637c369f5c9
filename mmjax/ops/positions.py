"""Learned two-dimensional positions, resized from one grid of patches to another."""

import math

import jax
import numpy as np
from jaxtyping import Array, Float, Float32


def sincos(side: int, width: int) -> Float32[np.ndarray, "P E"]:
    """Sines and cosines of the places on a side x side grid, in reading order.

    A quarter of the width each for sine and cosine of the row, then of the column, at
    wavelengths from 2 pi to 20,000 pi patches (MoCo v3, arXiv 2104.02057). `width` must
    be a multiple of 4.
    """
    rate_e = 10_000.0 ** -(np.arange(width // 4) / (width // 4))
    place_pe = np.arange(side)[:, None] * rate_e
    wave_pe = np.concatenate([np.sin(place_pe), np.cos(place_pe)], axis=1)
    rows = np.repeat(wave_pe, side, axis=0)
    columns = np.tile(wave_pe, (side, 1))
    return np.concatenate([rows, columns], axis=1).astype(np.float32)


def resize(
    positions_PE: Float[Array, "P E"], grid: tuple[int, int]
) -> Float[Array, "P2 E"]:
    """Positions of a square grid, resampled to `grid` (rows, columns).

    Linear, with antialiasing where the grid shrinks; the same grid gives the same
    values back. P must be a square number, else ValueError.
    """
    patches, width = positions_PE.shape
    side = math.isqrt(patches)
    if side * side != patches:
        raise ValueError(f"positions of {patches} patches: must be a square number")
    if grid == (side, side):
        return positions_PE
    table = positions_PE.reshape(side, side, width)
    table = jax.image.resize(table, (*grid, width), "linear", antialias=True)
    return table.reshape(grid[0] * grid[1], width)

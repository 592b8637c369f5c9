"""Learned two-dimensional positions, resized from one grid of patches to another."""

import math

import jax
from jaxtyping import Array, Float


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

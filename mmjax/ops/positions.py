"""Two-dimensional positions: of waves, and resized from one grid to another."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32


def sincos(
    grid: tuple[int, int], width: int, columns_first: bool = False
) -> Float32[np.ndarray, "P E"]:
    """Sines and cosines of the places on a grid (rows, columns), in reading order.

    A quarter of the width each for sine and cosine of the row, then of the column, at
    wavelengths from 2 pi to 20,000 pi patches (MoCo v3, arXiv 2104.02057); of the
    column first, as MAE, AIM and AIMv2 have it, with `columns_first`. `width` must be a
    multiple of 4.
    """
    rate_e = 10_000.0 ** -(np.arange(width // 4) / (width // 4))
    place_pe = np.arange(max(grid))[:, None] * rate_e
    wave_pe = np.concatenate([np.sin(place_pe), np.cos(place_pe)], axis=1)
    rows = np.repeat(wave_pe[: grid[0]], grid[1], axis=0)
    columns = np.tile(wave_pe[: grid[1]], (grid[0], 1))
    halves = [columns, rows] if columns_first else [rows, columns]
    return np.concatenate(halves, axis=1).astype(np.float32)


def resize(
    positions_PE: Float[Array, "P E"], grid: tuple[int, int], method: str = "linear"
) -> Float[Array, "P2 E"]:
    """Positions of a square grid, resampled to `grid` (rows, columns).

    `method` is a key of RESIZES; the same grid gives the same values back. P must be a
    square number, else ValueError.
    """
    patches, width = positions_PE.shape
    side = math.isqrt(patches)
    if side * side != patches:
        raise ValueError(f"positions of {patches} patches: must be a square number")
    if grid == (side, side):
        return positions_PE
    table = RESIZES[method](positions_PE.reshape(side, side, width), grid)
    return table.reshape(grid[0] * grid[1], width)


def _antialiased(method: str) -> Callable:
    """Where the grid shrinks, the kernel is as wide as the new cells."""

    def resized(table: Array, grid: tuple[int, int]) -> Array:
        shape = (*grid, table.shape[-1])
        return jax.image.resize(table, shape, method, antialias=True)

    return resized


def _torch_bicubic(table: Array, grid: tuple[int, int]) -> Array:
    rows, columns = (_bicubic_weights(table.shape[0], size) for size in grid)
    return jnp.einsum("yr,xc,rce->yxe", rows, columns, table.astype(jnp.float32))


def _bicubic_weights(old: int, new: int) -> Float32[np.ndarray, "new old"]:
    """What each new place takes of the old ones: four of them, never more.

    Keys' kernel at a = -0.75 without antialiasing, places beyond the border counting as
    those on it: PyTorch's `interpolate`, by which Hugging Face's models are resized.
    """
    a = -0.75
    place_n = (np.arange(new) + 0.5) * old / new - 0.5
    weights = np.zeros((new, old), np.float32)
    for tap in range(-1, 3):
        at_n = np.floor(place_n) + tap
        x = np.abs(place_n - at_n)
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * (x**3 - 5 * x**2 + 8 * x - 4)
        at_n = np.clip(at_n, 0, old - 1).astype(int)
        np.add.at(weights, (np.arange(new), at_n), np.where(x <= 1, near, far))
    return weights


RESIZES: dict[str, Callable] = {
    "linear": _antialiased("linear"),
    "cubic": _antialiased("cubic"),  # a = -0.5: timm's, and that of DINOv2's registers
    "torch_bicubic": _torch_bicubic,
}

"""The crops of an image that the encoder sees: the whole, then tiles of it."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from data_pipelines import resizing
from data_pipelines.resizing import Colour, Pixels, Sides
from mmjax import config as config_lib
from mmjax import image_map, tiling
from mmjax.config import Model
from mmjax.image_map import Map
from mmjax.tiling import Grid

BLACK = (0, 0, 0)
NO_TILES = (0, 0)

Crops = UInt8[np.ndarray, "C h w c"]


class Recipe(NamedTuple):
    """What a model makes of an image. Picklable."""

    size: int  # side of a crop
    resize: str = "warp"
    interpolation: str = "area"
    colour: Colour = BLACK  # that `letterbox` pads with
    tiling: str = "none"
    grids: tuple[Grid, ...] = ()  # of tiles to choose from; empty: no tiles
    map: Map | None = None  # how tokens of tiles are one picture's; None: they aren't


def recipe(model: Model) -> Recipe:
    """The recipe of a model."""
    how = model.preprocessing
    return Recipe(
        model.vit.image_size,
        how.resize,
        how.interpolation,
        config_lib.pad_colour(model),
        how.tiling,
        config_lib.grids_of(how),
        config_lib.map_of(model),
    )


@functools.lru_cache(maxsize=4096)
def grid(recipe: Recipe, width: int, height: int) -> Grid:
    """Rows and columns of the tiles of an image; 0 and 0 for none."""
    if not recipe.grids:
        return NO_TILES
    sides = np.array(width), np.array(height)
    return recipe.grids[int(tiling.choose(recipe.grids, recipe.size, *sides))]


def count(grid: Grid) -> int:
    """Crops of an image with these tiles."""
    return 1 + grid[0] * grid[1]


@functools.lru_cache(maxsize=4096)
def cost(
    recipe: Recipe, crop_positions: int, width: int, height: int
) -> tuple[int, int]:
    """Slots and positions of an image, as `config.image_cost` tells them of many."""
    tiles = grid(recipe, width, height)
    slots = count(tiles)
    if recipe.map is None:
        return slots, slots * crop_positions
    return slots, int(image_map.positions(recipe.map, *tiles, width, height))


def order(recipe: Recipe, crop_positions: int, width: int, height: int) -> np.ndarray:
    """What stands at each position of an image: a token of its crops, or NEWLINE.

    An int32 for each; tokens count through the crops, of `crop_positions` each.
    """
    tiles = grid(recipe, width, height)
    if recipe.map is None:
        return np.arange(count(tiles) * crop_positions, dtype=np.int32)
    return image_map.order(recipe.map, tiles, width, height)


def write(pixels_hwc: Pixels, recipe: Recipe, grid: Grid, out_Chwc: Crops) -> None:
    """Writes the crops of an image: the whole one, then its tiles in reading order."""
    TILINGS[recipe.tiling](pixels_hwc, recipe, grid, out_Chwc)


def _whole(pixels_hwc: Pixels, recipe: Recipe, out_hwc: Pixels) -> None:
    """The image as a square."""
    interpolation = resizing.INTERPOLATIONS[recipe.interpolation]
    resizing.RESIZES[recipe.resize](pixels_hwc, out_hwc, interpolation, recipe.colour)


def _none(pixels_hwc: Pixels, recipe: Recipe, grid: Grid, out_Chwc: Crops) -> None:
    """The image as a square, alone."""
    _whole(pixels_hwc, recipe, out_Chwc[0])


def _mm1(pixels_hwc: Pixels, recipe: Recipe, grid: Grid, out_Chwc: Crops) -> None:
    """The image as a large square, which is shrunk, and cut into tiles."""
    side = grid[0] * recipe.size
    canvas_hwc = np.empty((side, side, 3), np.uint8)
    _whole(pixels_hwc, recipe, canvas_hwc)
    resizing.INTERPOLATIONS[recipe.interpolation](canvas_hwc, out_Chwc[0], None)
    out_Chwc[1:] = tiles(canvas_hwc, grid)


def _anyres(pixels_hwc: Pixels, recipe: Recipe, grid: Grid, out_Chwc: Crops) -> None:
    """The image as a square, and with its own aspect amid black, cut into tiles."""
    _whole(pixels_hwc, recipe, out_Chwc[0])
    height, width, _ = pixels_hwc.shape
    sides = (grid[0] * recipe.size, grid[1] * recipe.size)
    fitted = resizing.fitted_sides(height, width, sides)
    inside_hwc = np.empty((*fitted, 3), np.uint8)
    resizing.INTERPOLATIONS[recipe.interpolation](pixels_hwc, inside_hwc, None)
    out_Chwc[1:] = tiles(resizing.padded(inside_hwc, sides, BLACK), grid)


TILINGS: dict[str, Callable[[Pixels, Recipe, Grid, Crops], None]] = {
    "none": _none,
    "mm1": _mm1,
    "anyres": _anyres,
}


def tiles(canvas_hwc: Pixels, grid: Grid) -> Crops:
    """The tiles of a canvas, in reading order."""
    rows, columns = grid
    height, width, channels = canvas_hwc.shape
    size = (height // rows, width // columns)
    cut = canvas_hwc.reshape(rows, size[0], columns, size[1], channels)
    return cut.transpose(0, 2, 1, 3, 4).reshape(rows * columns, *size, channels)


def largest(recipe: Recipe, grid: Grid, height: int, width: int) -> Sides:
    """Sides of the largest resized copy of an image that its crops are made of.

    A decoder may shrink an image so far, and no further.
    """
    side = recipe.size
    if recipe.tiling == "anyres":
        sides = (grid[0] * side, grid[1] * side)
        fitted = resizing.fitted_sides(height, width, sides)
        return max(fitted[0], side), max(fitted[1], side)
    side *= max(1, grid[0])
    if recipe.resize == "crop":
        return resizing.cropped_sides(height, width, side)
    if recipe.resize == "letterbox":
        return resizing.fitted_sides(height, width, (side, side))
    return side, side

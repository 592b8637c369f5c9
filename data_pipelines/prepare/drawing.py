"""Draws a scene of the sample world as a real JPEG image."""

import cv2
import numpy as np

from data_pipelines.prepare import scenes
from data_pipelines.prepare.scenes import Scene, Thing

OVERSAMPLE = 4  # drawn this much larger, then averaged: smooth edges
QUALITY = 90


def jpeg(scene: Scene, side: int, seed: int) -> bytes:
    """The scene as a baseline JPEG of side x side pixels; `seed` is of its noise."""
    image_hwc = render(scene, side, seed)
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    done, data = cv2.imencode(".jpg", image_hwc[:, :, ::-1], options)
    if not done:
        raise ValueError(f"a scene of side {side} can't be written as JPEG")
    return data.tobytes()


def render(scene: Scene, side: int, seed: int) -> np.ndarray:
    """The scene as uint8 RGB [side, side, 3]; `seed` is of its noise."""
    colour = np.array(scenes.BACKGROUNDS[scene.background], np.float32)
    ground_hwc = np.broadcast_to(colour, (side, side, 3)).copy()
    ground_hwc += _texture(scene.texture, side, seed)[:, :, None]
    image_hwc = np.clip(ground_hwc, 0, 255).astype(np.uint8)
    full = side * OVERSAMPLE
    canvas = cv2.resize(image_hwc, (full, full), interpolation=cv2.INTER_NEAREST)
    for thing in scene.things:
        _paint(canvas, thing, scenes.SIZES[thing.size] * full)
    return cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)


def _texture(name: str, side: int, seed: int) -> np.ndarray:
    """What a texture adds to the brightness, float32 [side, side]."""
    if name == "speckled":
        noise = np.random.Generator(np.random.PCG64(seed))
        return noise.normal(0.0, 9.0, (side, side)).astype(np.float32)
    if name == "striped":
        period = side / 8 + seed % 3
        rows = np.arange(side, dtype=np.float32)[:, None]
        wave = 9.0 * np.sin(2 * np.pi * (rows + seed % 8) / period)
        return np.broadcast_to(wave, (side, side))
    return np.zeros((side, side), np.float32)


def _paint(canvas: np.ndarray, thing: Thing, radius: float) -> None:
    colour = scenes.COLOURS[thing.colour]
    centre = np.array([thing.x, thing.y]) * len(canvas)
    middle = (round(centre[0]), round(centre[1]))
    if thing.shape == "circle":
        cv2.circle(canvas, middle, round(radius), colour, -1)
    elif thing.shape == "ring":
        width = radius * 0.36
        cv2.circle(canvas, middle, round(radius - width / 2), colour, round(width))
    else:
        corners = np.round(centre + radius * OUTLINES[thing.shape]).astype(np.int32)
        cv2.fillPoly(canvas, [corners], colour)


def _outlines() -> dict[str, np.ndarray]:
    """Corners of the shapes with corners, [corners, xy], within the unit circle."""
    turns = -np.pi / 2 + np.arange(10) * np.pi / 5
    reach = np.where(np.arange(10) % 2, 0.45, 1.0)[:, None]
    star = 1.06 * reach * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    arm, end = 0.3, 0.94
    cross = [(-arm, -end), (arm, -end), (arm, -arm), (end, -arm), (end, arm)]
    cross += [(arm, arm), (arm, end), (-arm, end), (-arm, arm), (-end, arm)]
    cross += [(-end, -arm), (-arm, -arm)]
    return {
        "square": 0.84 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]),
        "triangle": np.array([(0, -0.95), (1.0, 0.8), (-1.0, 0.8)]),
        "star": star,
        "cross": np.array(cross),
    }


OUTLINES = _outlines()

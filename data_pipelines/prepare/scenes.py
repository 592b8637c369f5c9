"""The sample world: scenes of coloured shapes, as plain values.

A scene is one to four things on a background. Everything else about the world, its
images, captions, questions and texts, follows from scenes and a random state.
"""

import hashlib
import random
from typing import NamedTuple

COLOURS = {
    "red": (214, 32, 38),
    "orange": (255, 138, 0),
    "yellow": (252, 228, 40),
    "green": (22, 140, 50),
    "blue": (32, 72, 214),
    "purple": (140, 40, 170),
    "black": (14, 14, 14),
    "white": (255, 255, 255),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
SIZES = {"small": 0.125, "large": 0.2}  # radius, in sides of the image
BACKGROUNDS = {
    "light grey": (196, 196, 196),
    "dark grey": (92, 92, 96),
    "beige": (222, 202, 166),
    "pale blue": (168, 198, 222),
    "pale green": (176, 208, 172),
    "pink": (232, 178, 186),
    "brown": (118, 84, 58),
}
TEXTURES = ("plain", "speckled", "striped")
THINGS = (1, 1, 1, 2, 2, 2, 3, 3, 4)  # how many things a scene has is drawn from this
SPLITS = ("train", "heldout")
HELDOUT_SHARE = 10  # one description in this many is held out
CONVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
GAP = 0.04  # between things, and between a thing and the border


class Thing(NamedTuple):
    """One shape; `x`, `y`: its centre, in sides of the image from the top left."""

    size: str
    colour: str
    shape: str
    x: float
    y: float


class Scene(NamedTuple):
    """Things from left to right, on a background."""

    things: tuple[Thing, ...]
    background: str
    texture: str


def draw(rng: random.Random, split: str, things: int = 0) -> Scene:
    """A random scene of a split, with that many things (0: as many as THINGS gives)."""
    while True:
        scene = _draw(rng, things or rng.choice(THINGS))
        if split_of(scene) == split:
            return scene


def description(scene: Scene) -> str:
    """What is in the scene, without where; two scenes may share it."""
    things = sorted(f"{t.size} {t.colour} {t.shape}" for t in scene.things)
    return f"{', '.join(things)} on {scene.texture} {scene.background}"


def split_of(scene: Scene) -> str:
    """The split that all scenes of this description belong to."""
    digest = hashlib.blake2b(description(scene).encode(), digest_size=8).digest()
    return SPLITS[int.from_bytes(digest, "big") % HELDOUT_SHARE == 0]


def relation(a: Thing, b: Thing) -> str:
    """Where `a` is, seen from `b`: left, right, above, below, or '' if not clear."""
    x, y = a.x - b.x, a.y - b.y
    if abs(x) >= 2 * abs(y):
        return "left" if x < 0 else "right"
    if abs(y) >= 2 * abs(x):
        return "above" if y < 0 else "below"
    return ""


def alone(scene: Scene, field: str) -> list[Thing]:
    """The things whose colour (or shape) no other thing of the scene has."""
    values = [getattr(thing, field) for thing in scene.things]
    return [t for t in scene.things if values.count(getattr(t, field)) == 1]


def _draw(rng: random.Random, count: int) -> Scene:
    looks = set()
    while len(looks) < count:  # no two things of a scene have the same colour and shape
        looks.add((rng.choice(list(COLOURS)), rng.choice(SHAPES)))
    sizes = [rng.choice(list(SIZES)) for _ in range(count)]
    places = _places(rng, sizes)
    things = [
        Thing(size, colour, shape, x, y)
        for size, (colour, shape), (x, y) in zip(sizes, sorted(looks), places)
    ]
    background, texture = rng.choice(list(BACKGROUNDS)), rng.choice(TEXTURES)
    return Scene(tuple(sorted(things, key=lambda t: t.x)), background, texture)


def _places(rng: random.Random, sizes: list[str]) -> list[tuple[float, float]]:
    """Centres without overlap: anywhere, or in quarters of the image if there are many.

    Rounded, so that a scene is the same however it is written down.
    """
    quarters = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)]
    rng.shuffle(quarters)
    side = 1.0 if len(sizes) <= 2 else 0.5
    while True:
        places = []
        for size, (left, top) in zip(sizes, quarters):
            corner = (0.0, 0.0) if side == 1.0 else (left, top)
            low, high = SIZES[size] + GAP, side - SIZES[size] - GAP
            x, y = (round(start + rng.uniform(low, high), 3) for start in corner)
            places.append((x, y))
        if side < 1.0 or len(places) == 1:
            return places
        reach = SIZES[sizes[0]] + SIZES[sizes[1]] + GAP
        (x, y), (u, v) = places
        if (x - u) ** 2 + (y - v) ** 2 > reach**2:
            return places

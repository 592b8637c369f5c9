"""The sample world: scenes of coloured shapes, as plain values.

A scene is one to four things on a background. Everything else about the world, its
images, captions, questions and texts, follows from scenes and a random state.
"""

import hashlib
import random
from typing import NamedTuple

# Bright things on dark grounds, as figure and ground mostly differ in photos: with
# grounds both lighter and darker than the things, a ViT from scratch needs several
# times as many images before it tells outlines apart.
COLOURS = {
    "red": (230, 50, 50),
    "orange": (255, 140, 20),
    "yellow": (250, 230, 60),
    "green": (60, 200, 80),
    "blue": (70, 130, 255),
    "purple": (180, 80, 230),
    "pink": (255, 150, 200),
    "white": (250, 250, 250),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
SIZES = {"small": 0.17, "large": 0.22}  # radius, in sides of the image
BACKGROUNDS = {
    "black": (10, 10, 10),
    "dark grey": (58, 58, 62),
    "navy": (14, 22, 70),
    "dark green": (12, 52, 28),
    "brown": (66, 42, 22),
}
TEXTURES = ("plain", "speckled", "striped")
# A scene has one of these many things. Mostly one: to tell which colour is whose takes
# a model of this size many times the minutes of the quickstart.
THINGS = (1,) * 30 + (2, 2, 3, 4)
SPLITS = ("train", "heldout")
HELDOUT_SHARE = 10  # one description in this many is held out
CONVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
SHAKE = 0.025  # how far a thing may lie from the middle of its quarter


class Thing(NamedTuple):
    """One shape; `x`, `y`: its centre, in sides of the image from the top left."""

    size: str
    colour: str
    shape: str
    x: float
    y: float


class Scene(NamedTuple):
    """Things in reading order, each in its own quarter, on a background."""

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


def looks(told: str) -> dict[str, str]:
    """What a description of one thing says of it and its ground; {} of several."""
    things, _, ground = told.partition(" on ")
    if "," in things:
        return {}
    size, colour, shape = things.split()
    texture, _, background = ground.partition(" ")
    return {
        "size": size,
        "colour": colour,
        "shape": shape,
        "texture": texture,
        "background": background,
    }


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
    looks = sorted(looks)
    rng.shuffle(looks)
    things = [
        Thing(rng.choice(list(SIZES)), colour, shape, x, y)
        for (colour, shape), (x, y) in zip(looks, _places(rng, count))
    ]
    background, texture = rng.choice(list(BACKGROUNDS)), rng.choice(TEXTURES)
    return Scene(tuple(things), background, texture)


def _places(rng: random.Random, count: int) -> list[tuple[float, float]]:
    """Centres in different quarters of the image, in reading order.

    Rounded, so that a scene is the same however it is written down.
    """
    quarters = sorted(rng.sample(range(4), count))

    def shaken(middle: float) -> float:
        return round(middle + rng.uniform(-SHAKE, SHAKE), 3)

    return [(shaken(0.25 + q % 2 / 2), shaken(0.25 + q // 2 / 2)) for q in quarters]

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
SIZES = {"small": 0.145, "large": 0.21}  # radius, in sides of the image
CLOSE_UP = 1.8  # a thing that is alone stands in the middle, this much larger
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
THINGS = (1, 1, 1, 1, 1, 2, 2, 2, 3, 4)  # a scene has one of these many
SPLITS = ("train", "heldout")
HELDOUT_SHARE = 10  # one description in this many is held out
CONVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
SHAKE = 0.035  # how far a thing may lie from the middle of its quarter, or of all


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


def split_of(scene: Scene) -> str:
    """The split that all scenes of this description belong to."""
    digest = hashlib.blake2b(description(scene).encode(), digest_size=8).digest()
    return SPLITS[int.from_bytes(digest, "big") % HELDOUT_SHARE == 0]


def radius(scene: Scene, thing: Thing) -> float:
    """Radius of a thing of the scene, in sides of the image."""
    return SIZES[thing.size] * (CLOSE_UP if len(scene.things) == 1 else 1.0)


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
    """Centres in different quarters of the image, in reading order; one: in the middle.

    Rounded, so that a scene is the same however it is written down.
    """
    quarters = sorted(rng.sample(range(4), count))

    def shaken(middle: float) -> float:
        return round(middle + rng.uniform(-SHAKE, SHAKE), 3)

    if count == 1:
        return [(shaken(0.5), shaken(0.5))]
    return [(shaken(0.25 + q % 2 / 2), shaken(0.25 + q // 2 / 2)) for q in quarters]

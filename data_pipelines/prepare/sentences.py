"""The sample world in words: names of things, captions, statements.

Sentences are regular and the vocabulary is small (about 100 words), so that a model of
a few million parameters learns the language in minutes and can turn to the images.
"""

import random
from collections.abc import Sequence

from data_pipelines.prepare import scenes
from data_pipelines.prepare.scenes import Scene, Thing

NUMBERS = ("zero", "one", "two", "three", "four")
PLACES = (
    ("in the upper left", "in the upper right"),
    ("in the lower left", "in the lower right"),
)
DIRECTIONS = {
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
}


def name(thing: Thing) -> str:
    """As 'red circle'."""
    return f"{thing.colour} {thing.shape}"


def full_name(thing: Thing) -> str:
    """As 'small red circle'."""
    return f"{thing.size} {name(thing)}"


def a(words: str) -> str:
    """The words with their indefinite article."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def plural(shape: str, count: int) -> str:
    """As 'circle', 'circles', 'crosses'."""
    if count == 1:
        return shape
    return shape + ("es" if shape.endswith("s") else "s")


def listed(items: Sequence[str]) -> str:
    """As 'x', 'x and y', 'x, y and z'."""
    if len(items) == 1:
        return items[0]
    return f"{', '.join(items[:-1])} and {items[-1]}"


def sentence(words: str) -> str:
    """Begins with a capital and ends with a full stop."""
    return f"{words[0].upper()}{words[1:]}."


def place(thing: Thing) -> str:
    """Where in the picture a thing is, as 'in the upper left'."""
    return PLACES[int(thing.y * 2)][int(thing.x * 2)]


def relation(one: Thing, other: Thing) -> str:
    """As 'to the left of': where `one` is, seen from `other`; '' if not clear."""
    return DIRECTIONS.get(scenes.relation(one, other), "")


def pairs(scene: Scene) -> list[tuple[Thing, Thing]]:
    """The ordered pairs of things that stand in a clear relation."""
    return [
        (one, other)
        for one in scene.things
        for other in scene.things
        if one is not other and scenes.relation(one, other)
    ]


def short_caption(rng: random.Random, scene: Scene) -> str:
    """As alternative texts on the web: 'blue square and green star'."""
    names = [name(thing) for thing in scene.things]
    match rng.randrange(4):
        case 0 if len(names) == 1:
            return full_name(scene.things[0])
        case 1:
            return f"{listed(names)} on {scene.background}"
        case _:
            return listed(names)


def rich_caption(rng: random.Random, scene: Scene) -> str:
    """As VeCap's: says what there is, where, and on what, spaced full stops included.

    'A large red circle lies to the left of a small blue square on a plain black
    background .' Some go from the shapes to their colours: 'On a plain black
    background , the large circle is red and the small square is blue .'
    """
    ground = f"a {scene.texture} {scene.background} background"
    if rng.random() < 0.5:
        looks = [f"the {t.size} {t.shape} is {t.colour}" for t in scene.things]
        return f"On {ground} , {listed(looks)} ."
    names = [a(full_name(thing)) for thing in scene.things]
    if len(names) == 1:
        return f"{_capital(names[0])} lies {place(scene.things[0])} of {ground} ."
    between = relation(*scene.things[:2])
    if len(names) == 2 and between:
        return f"{_capital(names[0])} lies {between} {names[1]} on {ground} ."
    text = f"{_capital(listed(names))} lie on {ground} ."
    known = pairs(scene)
    if known:
        one, other = rng.choice(known)
        text += f" The {name(one)} is {relation(one, other)} the {name(other)} ."
    return text


def statement(rng: random.Random, scene: Scene) -> str:
    """One sentence that is true of the scene, as text in a document has it."""
    things = list(scene.things)
    known = pairs(scene)
    match rng.randrange(3):
        case 0 if known:
            one, other = rng.choice(known)
            return f"the {name(one)} is {relation(one, other)} the {name(other)}."
        case 1:
            thing = rng.choice(things)
            return f"the {name(thing)} is {place(thing)}."
        case _:
            return f"there is {listed([a(name(thing)) for thing in things])}."


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]

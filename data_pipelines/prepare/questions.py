"""Questions about the sample world, each with its one right answer.

A question is asked only where the scene answers it without doubt: the colour of *the*
circle where there is one circle, a relation where it is clear.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from data_pipelines.prepare import scenes, sentences
from data_pipelines.prepare.scenes import Scene

KINDS = ("colour", "shape", "count", "relation", "yes_no")
# Colour and shape are what a page asks most.
ON_A_PAGE = ("colour",) * 3 + ("shape",) * 3 + ("count", "relation", "yes_no")
ANSWERS = {
    "colour": tuple(scenes.COLOURS),
    "shape": scenes.SHAPES,
    "count": sentences.NUMBERS[1:],
    "relation": tuple(scenes.CONVERSE),
    "yes_no": ("yes", "no"),
}
WORDS = (
    "dax", "wug", "blick", "fep", "toma", "zorp", "gorp", "mip",
    "tulver", "kiki", "bosa", "nurf",
)  # fmt: skip


class Question(NamedTuple):
    """A prompt, and the text that continues it (begins with a space)."""

    prompt: str
    answer: str


def ask(rng: random.Random, scene: Scene, kind: str) -> Question | None:
    """A random question of a kind about the scene; None if it answers none."""
    asked = _ASK[kind](rng, scene)
    if asked is None:
        return None
    question, answer = asked
    return Question(f"Question: {question} Short answer:", f" {answer}")


def ask_for(
    rng: random.Random, split: str, kind: str, answer: str, several: bool = False
) -> tuple[Scene, Question]:
    """A scene of the split and a question of the kind that has this answer.

    `several`: the scene has two to four things.
    """
    things = sentences.NUMBERS.index(answer) if kind == "count" else 0
    while True:
        scene = scenes.draw(rng, split, rng.randint(2, 4) if several else things)
        question = ask(rng, scene, kind)
        if question and question.answer == f" {answer}":
            return scene, question


def _colour(rng: random.Random, scene: Scene):
    things = scenes.alone(scene, "shape")
    if not things:
        return None
    thing = rng.choice(things)
    return f"What colour is the {thing.shape}?", thing.colour


def _shape(rng: random.Random, scene: Scene):
    things = scenes.alone(scene, "colour")
    if not things:
        return None
    thing = rng.choice(things)
    return f"What shape is {thing.colour}?", thing.shape


def _count(_: random.Random, scene: Scene):
    return "How many shapes are there?", sentences.NUMBERS[len(scene.things)]


def _relation(rng: random.Random, scene: Scene):
    known = sentences.pairs(scene)
    if not known:
        return None
    one, other = rng.choice(known)
    where = (
        f"Where is the {sentences.name(one)}, seen from the {sentences.name(other)}?"
    )
    return where, scenes.relation(one, other)


def _yes_no(rng: random.Random, scene: Scene):
    """A thing of the scene, or one with the colour or the shape of one of them."""
    thing = rng.choice(scene.things)
    colour, shape = thing.colour, thing.shape
    match rng.randrange(4):
        case 0:
            colour = rng.choice(list(scenes.COLOURS))
        case 1:
            shape = rng.choice(scenes.SHAPES)
    there = any((t.colour, t.shape) == (colour, shape) for t in scene.things)
    return f"Is there {sentences.a(f'{colour} {shape}')}?", "yes" if there else "no"


_ASK = {
    "colour": _colour,
    "shape": _shape,
    "count": _count,
    "relation": _relation,
    "yes_no": _yes_no,
}


class Naming(NamedTuple):
    """Made-up words for values of an attribute, as one document uses them."""

    attribute: str  # shape, colour, or thing: both together, as "red circle"
    words: dict[str, str]  # value -> word

    def question(self, scene: Scene) -> Question:
        """What the only thing of the scene is called."""
        prompt = "This is a" if self.attribute == "shape" else "This one is"
        return Question(prompt, self.said(scene))

    def said(self, scene: Scene) -> str:
        """The word for the only thing of the scene."""
        return f" {self.words[self.value(scene)]}."

    def value(self, scene: Scene) -> str:
        """What the only thing of the scene has of the attribute."""
        [thing] = scene.things
        if self.attribute == "thing":
            return sentences.name(thing)
        return getattr(thing, self.attribute)


def naming(rng: random.Random, words: Sequence[str]) -> Naming:
    """Random values of colour or of shape, under these words."""
    attribute = rng.choice(("shape", "colour"))
    values = rng.sample(list(ANSWERS[attribute]), len(words))
    return Naming(attribute, dict(zip(values, words)))


def naming_things(rng: random.Random, split: str, words: Sequence[str]) -> Naming:
    """Things of a split, no two of one colour or one shape, under these words."""
    found: list[scenes.Thing] = []
    while len(found) < len(words):
        [thing] = scenes.draw(rng, split, things=1).things
        if all(thing.colour != t.colour and thing.shape != t.shape for t in found):
            found.append(thing)
    return Naming("thing", dict(zip(map(sentences.name, found), words)))


def named_scene(rng: random.Random, split: str, named: Naming, value: str) -> Scene:
    """A scene of one thing with this value of the attribute."""
    while True:
        scene = scenes.draw(rng, split, things=1)
        if named.attribute == "thing":  # one drawn in 48 would be it
            colour, shape = value.split()
            [thing] = scene.things
            scene = scene._replace(things=(thing._replace(colour=colour, shape=shape),))
        if named.value(scene) == value and scenes.split_of(scene) == split:
            return scene

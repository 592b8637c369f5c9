"""Questions about the sample world, each with its one right answer.

A question is asked only where the scene answers it without doubt: the colour of *the*
circle where there is one circle, a relation where it is clear.
"""

import random
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
    """Made-up words for two values of an attribute, as one document uses them."""

    attribute: str  # shape or colour
    words: dict[str, str]  # value -> word

    def question(self, scene: Scene) -> Question:
        """What the only thing of the scene is called."""
        word = self.words[getattr(scene.things[0], self.attribute)]
        if self.attribute == "shape":
            return Question("This is a", f" {word}.")
        return Question("This one is", f" {word}.")


def naming(rng: random.Random, words: tuple[str, str]) -> Naming:
    """Two random values of a random attribute, under these words."""
    attribute = rng.choice(("shape", "colour"))
    values = rng.sample(list(ANSWERS[attribute]), 2)
    return Naming(attribute, dict(zip(values, words)))


def named_scene(rng: random.Random, split: str, named: Naming, value: str) -> Scene:
    """A scene of one thing with this value of the attribute."""
    while True:
        scene = scenes.draw(rng, split, things=1)
        if getattr(scene.things[0], named.attribute) == value:
            return scene

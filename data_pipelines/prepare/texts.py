"""Text-only documents about the sample world, and unfinished sentences (cloze)."""

import random

from data_pipelines.prepare import scenes, sentences
from data_pipelines.prepare.questions import Question
from data_pipelines.prepare.scenes import Scene

DEFINITIONS: tuple[str, ...] = (
    "A triangle is a shape with three corners.",
    "A square is a shape with four corners.",
    "A star is a shape with five corners.",
    "A circle is a shape with no corners.",
    "A ring is a circle with a hole.",
    "A cross is a shape with four arms.",
    "A circle has no arms.",
    "A ring has a hole in the middle.",
    "A picture shows shapes on a background.",
    "What is above one thing has that thing below it.",
    "What is to the left of one thing has that thing to the right of it.",
)
NAMES = ("Ann", "Ben", "Eva", "Tom")


def cloze(rng: random.Random, split: str, form: str = "") -> Question:
    """A sentence of a form in FORMS that breaks off, and its only right end."""
    return FORMS[form or rng.choice(list(FORMS))](rng, split)


def describe(rng: random.Random, scene: Scene) -> str:
    """A scene in words alone, relations in both directions."""
    looks = [sentences.a(sentences.full_name(thing)) for thing in scene.things]
    number = sentences.NUMBERS[len(looks)]
    shapes = sentences.plural("shape", len(looks))
    parts = [
        f"There is a picture with a {scene.background} background.",
        f"It shows {number} {shapes}: {sentences.listed(looks)}.",
    ]
    known = sentences.pairs(scene)
    if known:
        one, other = rng.choice(known)
        for x, y in ((one, other), (other, one)):
            relation = sentences.relation(x, y)
            words = f"the {sentences.name(x)} is {relation} the {sentences.name(y)}"
            parts.append(sentences.sentence(words))
    return " ".join(parts)


def story(rng: random.Random, scene: Scene) -> str:
    """Somebody draws the scene, one thing after the other."""
    who = rng.choice(NAMES)
    things = list(scene.things)
    rng.shuffle(things)
    looks = [sentences.a(sentences.full_name(thing)) for thing in things]
    first, where = looks[0], sentences.place(things[0])
    parts = [f"{who} takes {scene.background} paper and draws {first} {where}."]
    for number in range(1, len(things)):
        known = sentences.relation(things[number], things[number - 1])
        last = f"the {sentences.name(things[number - 1])}"
        end = f" {known} {last}" if known else ""
        parts.append(f"Then {who} draws {looks[number]}{end}.")
    shapes = sentences.plural("shape", len(things))
    total = sentences.NUMBERS[len(things)]
    parts.append(f"Now there {_be(len(things))} {total} {shapes}.")
    return " ".join(parts)


def definitions(rng: random.Random) -> str:
    """Some of what is always true in this world, and some examples."""
    parts: list[str] = rng.sample(DEFINITIONS, rng.randint(2, 4))
    for _ in range(rng.randint(1, 3)):
        colour, shape = rng.choice(list(scenes.COLOURS)), rng.choice(scenes.SHAPES)
        example = sentences.a(f"{colour} {shape}")
        value = rng.choice((sentences.a(shape), colour))
        parts.append(sentences.sentence(f"{example} is {value}"))
    rng.shuffle(parts)
    return " ".join(parts)


def _converse(rng: random.Random, split: str) -> Question:
    """'The red circle is above the blue star, so the blue star is' ' below the ...'"""
    while True:
        known = sentences.pairs(scenes.draw(rng, split, things=2))
        if known:
            break
    one, other = rng.choice(known)
    x, y = sentences.name(one), sentences.name(other)
    there, back = sentences.relation(one, other), sentences.relation(other, one)
    return Question(f"The {x} is {there} the {y}, so the {y} is", f" {back} the {x}.")


def _total(rng: random.Random, split: str) -> Question:
    """'Ann has one red star and Ben has two blue rings, so together they have'"""
    counts = [rng.randint(1, 2) for _ in range(2)]
    parts = [
        f"{who} has {sentences.NUMBERS[n]} {t.colour} {sentences.plural(t.shape, n)}"
        for who, n, t in zip(
            rng.sample(NAMES, 2), counts, scenes.draw(rng, split, things=2).things
        )
    ]
    prompt = f"{' and '.join(parts)}, so together they have"
    return Question(prompt, f" {sentences.NUMBERS[sum(counts)]} shapes.")


def _lookup(rng: random.Random, split: str) -> Question:
    """'The circle is red and the star is blue. The colour of the star is' ' blue.'"""
    while True:
        things = scenes.alone(scenes.draw(rng, split, rng.choice((2, 3))), "shape")
        if len(things) > 1:
            break
    facts = sentences.listed([f"the {t.shape} is {t.colour}" for t in things])
    asked = rng.choice(things)
    prompt = f"{sentences.sentence(facts)} The colour of the {asked.shape} is"
    return Question(prompt, f" {asked.colour}.")


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


FORMS = {"converse": _converse, "total": _total, "lookup": _lookup}

"""Questions have exactly one right answer, checked by reading them anew."""

import random
import re

import pytest

from data_pipelines.prepare import questions, scenes, sentences


def _answers(scene: scenes.Scene, question: str) -> set[str]:
    """Every answer that the scene allows, from the words of the question alone."""
    names = {f"{t.colour} {t.shape}": t for t in scene.things}
    if found := re.fullmatch(r"What colour is the (\w+)\?", question):
        return {t.colour for t in scene.things if t.shape == found[1]}
    if found := re.fullmatch(r"What shape is (\w+)\?", question):
        return {t.shape for t in scene.things if t.colour == found[1]}
    if found := re.fullmatch(r"Is there an? (\w+ \w+)\?", question):
        return {"yes" if found[1] in names else "no"}
    if found := re.fullmatch(r"Where is the (.+), seen from the (.+)\?", question):
        return {scenes.relation(names[found[1]], names[found[2]])}
    assert question == "How many shapes are there?"
    return {sentences.NUMBERS[len(names)]}


@pytest.mark.parametrize("kind", questions.KINDS)
def test_a_question_has_one_answer_and_it_is_the_given_one(kind):
    rng = random.Random(2)
    asked = 0
    for _ in range(400):
        scene = scenes.draw(rng, "train", things=rng.randint(1, 4))
        question = questions.ask(rng, scene, kind)
        if question is None:
            continue
        asked += 1
        words = re.fullmatch("Question: (.+) Short answer:", question.prompt)
        assert words is not None
        assert question.answer[0] == " "
        assert _answers(scene, words[1]) == {question.answer[1:]}
        if kind in ("colour", "shape"):  # about one thing of the scene, not of several
            assert sum(question.answer[1:] in thing for thing in scene.things) >= 1
    assert asked > 100


def test_colour_and_shape_are_not_asked_where_several_things_fit():
    things = [
        scenes.Thing("small", "red", "star", 0.2, 0.2),
        scenes.Thing("small", "blue", "star", 0.8, 0.2),
        scenes.Thing("small", "blue", "ring", 0.8, 0.8),
    ]
    scene = scenes.Scene(tuple(things), "pink", "plain")
    rng = random.Random(0)
    colours = {questions.ask(rng, scene, "colour") for _ in range(20)}
    assert {q.prompt for q in colours if q} == {
        "Question: What colour is the ring? Short answer:"
    }
    twins = scene._replace(things=tuple(things[:2]))
    assert questions.ask(rng, twins, "colour") is None


@pytest.mark.parametrize("kind", questions.KINDS)
def test_a_question_can_be_had_for_every_answer(kind):
    rng = random.Random(4)
    for answer in questions.ANSWERS[kind]:
        scene, question = questions.ask_for(rng, "heldout", kind, answer)
        assert question.answer == f" {answer}"
        assert scenes.split_of(scene) == "heldout"


def test_a_made_up_word_means_one_value_of_one_attribute():
    rng = random.Random(5)
    for _ in range(50):
        named = questions.naming(rng, ["dax", "wug"])
        assert sorted(named.words.values()) == ["dax", "wug"]
        for value, word in named.words.items():
            scene = questions.named_scene(rng, "train", named, value)
            assert len(scene.things) == 1
            assert getattr(scene.things[0], named.attribute) == value
            assert named.question(scene).answer == f" {word}."


def test_a_made_up_word_means_one_thing_unlike_the_other():
    rng = random.Random(6)
    for split in scenes.SPLITS:
        for _ in range(50):
            named = questions.naming_things(rng, split, ["dax", "wug"])
            (colour, shape), (other_colour, other_shape) = map(str.split, named.words)
            assert colour != other_colour
            assert shape != other_shape
            for value, word in named.words.items():
                scene = questions.named_scene(rng, split, named, value)
                assert [sentences.name(thing) for thing in scene.things] == [value]
                assert scenes.split_of(scene) == split
                assert named.said(scene) == f" {word}."

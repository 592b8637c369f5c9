"""Texts about the sample world are true, and cloze sentences have one right end."""

import random
import re

from data_pipelines.prepare import scenes, sentences, texts


def test_a_converse_ends_with_the_opposite_direction():
    rng = random.Random(0)
    opposite = {
        sentences.DIRECTIONS[a]: sentences.DIRECTIONS[b]
        for a, b in scenes.CONVERSE.items()
    }
    for _ in range(100):
        question = texts.cloze(rng, "train", "converse")
        words = "|".join(opposite)
        pattern = rf"The (.+) is ({words}) the (.+), so the (.+) is"
        found = re.fullmatch(pattern, question.prompt)
        assert found is not None
        assert found[3] == found[4]
        assert question.answer == f" {opposite[found[2]]} the {found[1]}."


def test_a_total_is_the_sum():
    rng = random.Random(1)
    for _ in range(100):
        question = texts.cloze(rng, "train", "total")
        numbers = re.findall("|".join(sentences.NUMBERS), question.prompt)
        total = sum(sentences.NUMBERS.index(number) for number in numbers)
        assert len(numbers) == 2
        assert question.answer == f" {sentences.NUMBERS[total]} shapes."


def test_a_lookup_repeats_the_fact_asked_for():
    rng = random.Random(2)
    for _ in range(100):
        question = texts.cloze(rng, "train", "lookup")
        asked = re.search(r"The colour of the (\w+) is$", question.prompt)
        assert asked is not None
        facts = re.findall(rf"[Tt]he {asked[1]} is (\w+)", question.prompt)
        assert [f" {fact}." for fact in facts] == [question.answer]


def test_descriptions_and_stories_tell_of_every_thing():
    rng = random.Random(3)
    for _ in range(100):
        scene = scenes.draw(rng, "train")
        for text in (texts.describe(rng, scene), texts.story(rng, scene)):
            for thing in scene.things:
                assert sentences.full_name(thing) in text
            number = sentences.NUMBERS[len(scene.things)]
            assert f"{number} shape" in text


def test_definitions_vary():
    rng = random.Random(4)
    assert len({texts.definitions(rng) for _ in range(200)}) > 190

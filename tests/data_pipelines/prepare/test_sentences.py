"""Captions say what is in the picture, in two styles."""

import random

from data_pipelines.prepare import scenes, sentences


def _scenes(count):
    rng = random.Random(1)
    return rng, [scenes.draw(rng, "train") for _ in range(count)]


def test_both_captions_name_every_thing_and_rich_ones_the_background():
    rng, drawn = _scenes(200)
    for scene in drawn:
        short = sentences.short_caption(rng, scene)
        rich = sentences.rich_caption(rng, scene)
        for thing in scene.things:
            assert sentences.name(thing) in short
            looks = f"the {thing.size} {thing.shape} is {thing.colour}"
            assert sentences.full_name(thing) in rich.lower() or looks in rich
        assert f"{scene.texture} {scene.background} background " in rich
        assert rich.endswith(" .")
        assert len(short) < len(rich)


def test_a_rich_caption_reads_as_vecaps_do():
    large = scenes.Thing("large", "red", "circle", 0.25, 0.25)
    small = scenes.Thing("small", "blue", "square", 0.75, 0.25)
    scene = scenes.Scene((large, small), "dark grey", "plain")
    assert {sentences.rich_caption(random.Random(n), scene) for n in range(9)} == {
        "A large red circle lies to the left of a small blue square on a plain dark "
        "grey background .",
        "On a plain dark grey background , the large circle is red and the small "
        "square is blue .",
    }
    alone = scenes.Scene((small,), "navy", "striped")
    assert {sentences.rich_caption(random.Random(n), alone) for n in range(9)} == {
        "A small blue square lies in the upper right of a striped navy background .",
        "On a striped navy background , the small square is blue .",
    }


def test_words_are_joined_as_in_english():
    assert sentences.listed(["x"]) == "x"
    assert sentences.listed(["x", "y", "z"]) == "x, y and z"
    assert sentences.a("orange star") == "an orange star"
    assert [sentences.plural("cross", n) for n in (1, 2)] == ["cross", "crosses"]
    assert sentences.sentence("so it is") == "So it is."


def test_statements_are_true():
    rng, drawn = _scenes(300)
    for scene in drawn:
        words = sentences.statement(rng, scene)
        named = [t for t in scene.things if sentences.name(t) in words]
        if words.startswith("there is"):
            assert len(named) == len(scene.things)
        elif len(named) == 1:
            assert words.endswith(f"is {sentences.place(named[0])}.")
        else:
            first, second = sorted(named, key=lambda t: words.index(sentences.name(t)))
            assert f" {sentences.relation(first, second)} the " in words

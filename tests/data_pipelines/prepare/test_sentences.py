"""Captions say what is in the picture, in two styles."""

import random

from data_pipelines.prepare import scenes, sentences


def _scenes(count):
    rng = random.Random(1)
    return rng, [scenes.draw(rng, "train") for _ in range(count)]


def test_both_captions_name_every_thing_and_rich_ones_where():
    rng, drawn = _scenes(200)
    for scene in drawn:
        short = sentences.short_caption(rng, scene)
        rich = sentences.rich_caption(rng, scene)
        for thing in scene.things:
            assert sentences.name(thing) in short
            assert f"{thing.size} {sentences.name(thing)}" in rich.lower()
        assert f"{scene.texture} {scene.background} background ." in rich
        assert len(short) < len(rich)


def test_a_rich_caption_reads_as_vecaps_do():
    large = scenes.Thing("large", "red", "circle", 0.25, 0.25)
    small = scenes.Thing("small", "blue", "square", 0.75, 0.25)
    scene = scenes.Scene((large, small), "light grey", "plain")
    assert sentences.rich_caption(random.Random(0), scene) == (
        "A large red circle lies to the left of a small blue square on a plain light "
        "grey background ."
    )
    alone = scenes.Scene((small,), "pink", "striped")
    assert sentences.rich_caption(random.Random(0), alone) == (
        "A small blue square lies in the upper right of a striped pink background ."
    )


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

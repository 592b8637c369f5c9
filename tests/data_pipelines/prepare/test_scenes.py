"""Scenes: places, splits and relations."""

import itertools
import random

import pytest

from data_pipelines.prepare import scenes


@pytest.fixture(scope="module")
def drawn():
    rng = random.Random(0)
    return [scenes.draw(rng, split) for split in scenes.SPLITS for _ in range(300)]


def test_things_lie_inside_and_do_not_overlap(drawn):
    for scene in drawn:
        for thing in scene.things:
            radius = scenes.SIZES[thing.size]
            assert radius < min(thing.x, thing.y, 1 - thing.x, 1 - thing.y)
        for a, b in itertools.combinations(scene.things, 2):
            apart = ((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5
            assert apart > scenes.SIZES[a.size] + scenes.SIZES[b.size]


def test_a_description_belongs_to_one_split_only(drawn):
    train, heldout = drawn[:300], drawn[300:]
    assert {scenes.split_of(scene) for scene in train} == {"train"}
    assert {scenes.split_of(scene) for scene in heldout} == {"heldout"}
    both = set(map(scenes.description, train)) & set(map(scenes.description, heldout))
    assert not both


def test_every_number_of_things_colour_and_shape_occurs(drawn):
    things = [thing for scene in drawn for thing in scene.things]
    assert {len(scene.things) for scene in drawn} == {1, 2, 3, 4}
    assert {thing.colour for thing in things} == set(scenes.COLOURS)
    assert {thing.shape for thing in things} == set(scenes.SHAPES)


def test_the_relation_of_a_pair_is_the_converse_of_its_reverse(drawn):
    clear = 0
    for scene in drawn:
        for a, b in itertools.combinations(scene.things, 2):
            there = scenes.relation(a, b)
            clear += bool(there)
            assert scenes.relation(b, a) == scenes.CONVERSE.get(there, "")
    assert clear > 50


def test_relations_are_those_of_the_picture():
    def at(x, y):
        return scenes.Thing("small", "red", "star", x, y)

    assert scenes.relation(at(0.2, 0.5), at(0.8, 0.6)) == "left"
    assert scenes.relation(at(0.5, 0.9), at(0.6, 0.2)) == "below"
    assert scenes.relation(at(0.2, 0.2), at(0.7, 0.8)) == ""

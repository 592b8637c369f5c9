"""Solved examples are found by their images."""

import pytest
import talking

from mmjax.evals import shots
from mmjax.evals.example import Example
from mmjax.evaluation import nearness


def example(id: str, seed: int) -> Example:
    return Example(id, (talking.image(seed).data,), "a", references=("red",))


def test_the_same_image_is_nearest_and_stands_last(answerer):
    pool = shots.pool([example(f"p{n}", n) for n in range(70)], same=False)
    asked = [example("q3", 3), example("q69", 69)]
    find = nearness.finder(answerer, pool, asked)
    for query, seed in zip(asked, (3, 69)):
        found = find(query, 4)
        assert found[-1].id == f"p{seed}"
        assert len({one.id for one in found}) == 4
    assert [e.id for e in find(asked[0], 4)] != [e.id for e in find(asked[1], 4)]


def test_of_the_same_split_neither_the_query_nor_its_image_is_taken(answerer):
    examples = [example("a", 0), example("b", 0), example("c", 1), example("d", 2)]
    find = nearness.finder(answerer, shots.pool(examples, same=True), examples)
    assert {e.id for e in find(examples[0], 2)} == {"c", "d"}


def test_texts_have_no_images_to_be_alike(answerer):
    pool = shots.pool([Example("t", (), "a", references=("b",))], same=False)
    with pytest.raises(ValueError, match="example t has no image"):
        nearness.finder(answerer, pool, [])

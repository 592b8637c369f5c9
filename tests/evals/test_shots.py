"""Tests of few-shot prompts."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mmjax.evals import shots
from mmjax.evals.example import Example
from mmjax.evals.prompts import Image, Prompt

PROMPT = Prompt("{images} Question: {question} Short answer:")


def example(number: int, image: int | None = None) -> Example:
    picture = f"{number if image is None else image}.jpg"
    return Example(f"e{number}", (picture,), f"q{number}", references=(f"a{number}",))


TRAIN = [example(number) for number in range(100)]
QUERY = example(7)


def fits(_) -> bool:
    return True


def solved(*examples: Example) -> list[shots.Solved]:
    return shots.solve(PROMPT, examples)


@hypothesis.given(st.integers(0, 2**40), st.integers(0, 8))
@hypothesis.settings(deadline=None)
def test_shots_are_different_examples_that_follow_from_seed_and_id(seed, count):
    pool = shots.pool(TRAIN, same=False)
    drawn = shots.draw(pool, QUERY, count, seed)
    assert len({shot.id for shot in drawn}) == count
    again = Example(QUERY.id, ("other.jpg",), "another wording")
    assert shots.draw(pool, again, count, seed) == drawn
    assert shots.draw(pool, QUERY, count + 1, seed)[:count] == drawn


def test_queries_and_seeds_draw_apart_and_every_example_about_as_often():
    pool = shots.pool(TRAIN, same=False)
    times = np.zeros(len(TRAIN))
    for number in range(2000):
        for shot in shots.draw(pool, example(number), 4, seed=1):
            times[int(shot.id[1:])] += 1
    assert times.sum() == 8000
    # 99 degrees of freedom: one of 10,000 samples is beyond.
    assert ((times - 80) ** 2 / 80).sum() < 160
    drawn = [
        tuple(e.id for e in shots.draw(pool, QUERY, 4, seed)) for seed in range(50)
    ]
    assert len(set(drawn)) == 50


@pytest.mark.parametrize("seed", range(20))
def test_a_query_of_the_pool_sees_neither_itself_nor_its_image(seed):
    of_one_image = [example(number, image=number // 3) for number in range(12)]
    pool = shots.pool(of_one_image, same=True)
    drawn = shots.draw(pool, of_one_image[4], 9, seed)
    assert {shot.id for shot in drawn} == {f"e{n}" for n in range(12)} - {
        "e3",
        "e4",
        "e5",
    }
    with pytest.raises(ValueError, match="e4: 10 shots are asked for, 9 solved"):
        shots.draw(pool, of_one_image[4], 10, seed)


def test_an_example_of_a_group_sees_its_own_group_alone():
    grouped = [e._replace(facts={"group": n % 3}) for n, e in enumerate(TRAIN)]
    pool = shots.pool(grouped, same=True)
    drawn = shots.draw(pool, grouped[7], 32, 0)
    assert {shot.id for shot in drawn} == {f"e{n}" for n in range(1, 100, 3)} - {"e7"}
    with pytest.raises(ValueError, match="e7: 33 shots are asked for, 32 solved"):
        shots.draw(pool, grouped[7], 33, 0)


def test_exchanged_answers_are_the_same_ones_elsewhere_as_seed_and_id_say():
    whole = solved(*TRAIN[:8])
    found = [shots.exchange(whole, query, 0) for query in TRAIN]
    for one in found:
        assert [shot.example for shot in one] == TRAIN[:8]
        assert sorted(shot.answer for shot in one) == [f"a{n}" for n in range(8)]
    assert len({tuple(one) for one in map(str, found)}) > 90
    assert shots.exchange(whole, QUERY, 0) == found[7]
    assert shots.exchange(whole, QUERY, 1) != found[7]
    kept = [a == b for one in found for a, b in zip(one, whole)]
    assert sum(kept) < 160  # of 800 a hundred by chance


def test_examples_with_a_secret_answer_are_never_shown():
    secret = Example("s", (), "q")
    assert shots.pool([secret, TRAIN[0]], same=False).examples == [TRAIN[0]]
    with pytest.raises(ValueError, match="e7: 1 shots are asked for, 0 solved"):
        shots.draw(shots.pool([secret], same=False), QUERY, 1, 0)


def test_without_shots_the_query_stands_alone():
    asked = shots.ask(PROMPT, QUERY, [], fits)
    assert asked.parts == [Image("7.jpg"), " Question: q7 Short answer:"]
    assert (asked.shots, asked.dropped) == ((), 0)


def test_solved_examples_stand_before_the_query_in_their_order():
    asked = shots.ask(PROMPT, QUERY, solved(TRAIN[3], TRAIN[1]), fits)
    assert asked.shots == ("e3", "e1")
    assert asked.parts == [
        Image("3.jpg"),
        " Question: q3 Short answer: a3\n",
        Image("1.jpg"),
        " Question: q1 Short answer: a1\n",
        Image("7.jpg"),
        " Question: q7 Short answer:",
    ]


def test_texts_that_follow_each_other_are_one():
    text = Prompt("Question: {question}\nAnswer:", "\n\n")
    asked = shots.ask(text, QUERY._replace(images=()), solved(TRAIN[3]), fits)
    assert asked.parts == ["Question: q3\nAnswer: a3\n\nQuestion: q7\nAnswer:"]


@pytest.mark.parametrize("room", [1, 2, 3, 4])
def test_the_furthest_shots_are_dropped_whole_until_the_rest_fits(room):
    def fits(parts) -> bool:
        return sum(isinstance(part, Image) for part in parts) <= room

    asked = shots.ask(PROMPT, QUERY, solved(*TRAIN[:3]), fits)
    assert asked.dropped == 4 - room
    assert asked.shots == tuple(shot.id for shot in TRAIN[4 - room : 3])
    assert asked.parts[-2:] == [Image("7.jpg"), " Question: q7 Short answer:"]


def test_a_query_that_does_not_fit_alone_is_named():
    with pytest.raises(ValueError, match="example e7 alone doesn't fit"):
        shots.ask(PROMPT, QUERY, solved(*TRAIN[:3]), lambda parts: False)


def test_the_nearest_examples_by_cosine_stand_nearest_to_the_query():
    rng = np.random.default_rng(0)
    vectors, vector = rng.normal(size=(100, 8)), rng.normal(size=8)
    pool = shots.pool(TRAIN, same=True)
    found = [shot.id for shot in shots.nearest(pool, QUERY, 5, 3 * vectors, vector)]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = {f"e{n}": unit[n] @ vector for n in range(100) if n != 7}
    assert found == sorted(cosine, key=lambda name: cosine[name])[-5:]

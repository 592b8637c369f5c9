"""What evaluation libraries ask for reaches the model as it was meant."""

import pytest

from mmjax import answering
from mmjax.answering import Request, Text
from mmjax.harness import asking

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_prompts_are_read_once_and_scores_are_those_of_each_alone(answerer):
    pairs = [("the dog", " sees it"), ("the dog", " near"), ("", "a red ball"),
             ("a cube", " and"), ("the dog", " it")]  # fmt: skip
    asked = [(asking.words(prompt), text) for prompt, text in pairs]
    found = asking.scored(answerer, asked, 2)
    for (prompt, text), (total, greedy) in zip(asked, found):
        alone = Request(prompt, continuations=(text,))
        [score] = answering.answer(answerer, [alone])[0].scores
        assert total == pytest.approx(score.total, rel=1e-4)
        assert greedy == score.greedy


def test_what_the_harness_asks_for_in_its_own_words():
    assert asking.split("Answer: ", "yes") == ("Answer:", " yes")
    how = {"until": "\n", "max_gen_toks": 5, "temperature": 0.0, "do_sample": False}
    found = asking.request(asking.words("a"), how)
    assert found == Request((Text("a"),), 5, 0.0, stop=("\n",))
    drawn = asking.request((), {"until": ["."], "temperature": 0.5, "top_p": 0.9})
    assert (drawn.temperature, drawn.top_p, drawn.stop) == (0.5, 0.9, (".",))

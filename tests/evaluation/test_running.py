"""Answers of a task on disk: none is asked for twice, and nothing else is taken."""

import json

import pytest
import talking

from mmjax import answering
from mmjax.evals import shots
from mmjax.evals.example import Example
from mmjax.evals.prompts import Prompt
from mmjax.evals.tasks import Task
from mmjax.evaluation import running
from mmjax.evaluation.asking import Manner

TASK = Task({}, Prompt("{images}{question}"), ("same",), "accuracy", new_tokens=4)
MANNER = Manner(TASK, TASK.prompt, 0, shots.pool([], True), 0)
EXAMPLES = [
    Example(f"e{n}", (talking.image(n % 3).data,), "the red dog sees " + "it " * n)
    for n in range(10)
]


def run(answerer, home, examples=EXAMPLES, batch=4, settings=None, say=print):
    settings = {"seed": 0} if settings is None else settings
    return running.run(
        answerer, MANNER, examples, home, "t-0shot", settings, batch, say
    )


@pytest.fixture(scope="module")
def whole(answerer, tmp_path_factory):
    return run(answerer, tmp_path_factory.mktemp("whole"))


def test_each_example_gets_what_it_gets_alone(answerer, whole):
    for number in (0, 7):
        example = EXAMPLES[number]
        parts = (talking.image(number % 3), answering.Text(example.question.strip()))
        request = answering.Request(parts, 4, stop=TASK.stops)
        alone = answering.answer(answerer, [request])[0].text
        assert whole[example.id].output.text == alone
        assert whole[example.id].record["prompt"].startswith("<image>the red dog")
    assert len({said.output.text for said in whole.values()}) > 1


@pytest.mark.parametrize("cut", [0, 1])
def test_a_stopped_run_goes_on_without_asking_again(
    answerer, whole, tmp_path, monkeypatch, cut
):
    answer, asked = answering.answer, []

    def stopping(answerer, requests):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(requests))
        return answer(answerer, requests)

    with monkeypatch.context() as patched:
        patched.setattr(answering, "answer", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(answerer, tmp_path)
    path = tmp_path / "t-0shot.jsonl"
    path.write_bytes(path.read_bytes()[: -1 if cut else None])
    asked.clear()

    def counting(answerer, requests):
        asked.append(len(requests))
        return answer(answerer, requests)

    monkeypatch.setattr(answering, "answer", counting)
    said = []
    again = run(answerer, tmp_path, say=said.append)
    assert asked == ([3] if cut else [2])
    assert said[0] == f"t-0shot: {8 - cut} examples are answered already"
    assert {id: s.output for id, s in again.items()} == {
        id: s.output for id, s in whole.items()
    }
    asked.clear()
    run(answerer, tmp_path)
    assert asked == []


def test_answers_to_something_else_are_not_taken(answerer, tmp_path):
    run(answerer, tmp_path, EXAMPLES[:1])
    with pytest.raises(ValueError, match=r"t-0shot\.asked\.json was made with seed=0"):
        run(answerer, tmp_path, EXAMPLES[:1], settings={"seed": 1})
    path = tmp_path / "t-0shot.jsonl"
    path.write_text(json.dumps({"id": "e0", "score": 1}) + "\n")
    with pytest.raises(ValueError, match="id e0: no answer"):
        run(answerer, tmp_path, EXAMPLES[:1])


def test_what_does_not_fit_a_row_is_left_out(answerer, tmp_path):
    long = Example("long", (), "the red dog " * 40)
    assert list(run(answerer, tmp_path, [long, EXAMPLES[0]])) == ["e0"]

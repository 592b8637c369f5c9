"""What a model is given for an example of a task."""

import pytest
import talking

from data_pipelines.records import Image, Text
from mmjax import answering
from mmjax.answering import Answer, Score
from mmjax.evals import shots
from mmjax.evals.example import Example
from mmjax.evals.prompts import Prompt
from mmjax.evals.tasks import Task
from mmjax.evaluation import asking
from mmjax.evaluation.asking import Manner

PROMPT = Prompt("{images}{question}:", " and")
SAYS = Task({}, PROMPT, ("same",), "accuracy", stops=(".",), new_tokens=5)
CHOOSES = Task({}, PROMPT, ("choices",), "acc", mode="choices")


def manner(task: Task, count: int, pool=()) -> Manner:
    return Manner(task, task.prompt, count, shots.pool(list(pool), False), 0)


def asked(answerer, how: Manner, example: Example) -> asking.Query:
    return asking.query(how, answerer.config, answerer.tokenizer, example)


def solved(number: int) -> Example:
    return Example(f"s{number}", (), "a dog", references=("red",))


def test_a_question_is_asked_with_its_images_stops_and_length(answerer):
    picture = talking.image(0)
    query = asked(answerer, manner(SAYS, 0), Example("1", (picture.data,), "a red"))
    assert query.text == "<image>a red:"
    [request] = query.requests
    assert request.parts == (picture, Text("a red:"))
    assert (request.new_tokens, request.stop, request.continuations) == (5, (".",), ())
    assert [p for p in request.parts if isinstance(p, Image)] == [picture]


def test_solved_examples_stand_before_the_query(answerer):
    pool = [solved(n) for n in range(3)]
    query = asked(answerer, manner(SAYS, 2, pool), Example("1", (), "a cube"))
    assert query.text == "a dog: red anda dog: red anda cube:"
    assert len(set(query.shots)) == 2
    assert query.dropped == 0


def test_solved_examples_may_show_each_others_answers(answerer):
    words = ("red", "blue", "ball", "cube", "dog")
    pool = [Example(word, (), word, references=(word,)) for word in words]
    how = manner(SAYS, 5, pool)
    plain = asked(answerer, how, Example("1", (), "a cube"))
    found = asked(answerer, how._replace(exchanged=True), Example("1", (), "a cube"))
    assert found.shots == plain.shots
    pairs = [text.split(": ") for text in found.text.split(" and")[:-1]]
    assert sorted(question for question, _ in pairs) == sorted(words)
    assert sorted(answer for _, answer in pairs) == sorted(words)
    assert any(question != answer for question, answer in pairs)


def test_solved_examples_without_room_are_dropped_and_counted(answerer):
    pool = [solved(n) for n in range(40)]
    example = Example("1", (), "a cube")
    query = asked(answerer, manner(SAYS, 40, pool), example)
    used = answering.check(answerer.config, answerer.tokenizer, query.requests[0])
    room = answerer.config.data.row_tokens - used - SAYS.new_tokens
    one = len(answerer.tokenizer.encode("a dog: red and"))
    assert 0 <= room < one + 2
    assert len(query.shots) + query.dropped == 40
    assert 0 < query.dropped < 40
    with pytest.raises(shots.TooLongError, match="example 2 alone doesn't fit"):
        asked(answerer, manner(SAYS, 0), Example("2", (), "a dog " * 40))


def test_choices_are_scored_after_a_blank(answerer):
    example = Example("1", (), "a", ("red", "blue cube"), 1)
    [request] = asked(answerer, manner(CHOOSES, 0), example).requests
    assert request.continuations == (" red", " blue cube")
    given = [Answer(scores=(Score(" red", (-1.0,), False),
                            Score(" blue cube", (-1.0, -0.5), True)))]  # fmt: skip
    found = asking.output(CHOOSES, given)
    assert found.logprobs == (-1.0, -1.5)
    assert found.greedy == (False, True)


def test_each_choice_has_its_own_context_and_all_the_same_solved_ones(answerer):
    contexts = ("the dog", "the small blue cube near the red ball and the dog")
    example = Example("1", (), "", ("sees it", "sees it"), 0, contexts=contexts)
    right = example._replace(id="2", answer=1)
    pool = [right._replace(id=str(n)) for n in range(3, 9)]
    query = asked(answerer, manner(CHOOSES, 6, pool), example)
    first, second = query.requests
    assert first.continuations == second.continuations == (" sees it",)
    ends = [request.parts[-1].text for request in (first, second)]
    before = f"{contexts[1]}: sees it and" * len(query.shots)
    assert ends == [f"{before}{context}:" for context in contexts]
    assert query.dropped

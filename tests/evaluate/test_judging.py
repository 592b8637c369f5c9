"""The judge of open answers: its figure, its failures, and nothing asked twice."""

import collections
import json
import socket

import chat_server
import judging_plans
import pytest
from chat_server import Act

from data_pipelines.endpoint.asking import Manner
from data_pipelines.endpoint.chat import Endpoint
from mmjax.evals import judge as rules
from mmjax.evals import shots
from mmjax.evals.example import Example, Output
from mmjax.evals.prompts import Prompt
from mmjax.evals.tasks import Task
from mmjax.evaluate import judging
from mmjax.evaluate.judging import Judge
from mmjax.evaluation import asking, results
from mmjax.evaluation.jobs import Job
from mmjax.evaluation.running import Said

COUNT = 40
KEY = "sk-very-secret-0123456789"
TASK = Task({}, Prompt("{images}Question: {question}"), ("same",), "accuracy")
LETTERED = Task({}, TASK.prompt, ("choices",), "acc", mode="choices")
FAST = Manner(per_minute=60_000, tries=2, backoff=0.01)


def _judge(server, model="m", **manner) -> Judge:
    endpoint = Endpoint(server.url, model, KEY, 9, timeout=20.0, temperature=0.0)
    return Judge(endpoint, FAST._replace(**manner))


def _scored(name, task, examples, outputs, shot_count=0) -> judging.Done:
    said = {
        example.id: Said(output, {"id": example.id, "dropped": 0})
        for example, output in zip(examples, outputs)
    }
    settings = {"task": name, "shots": shot_count}
    pool = shots.pool([], True)
    manner = asking.Manner(task, task.prompt, shot_count, pool, 0)
    result, records = results.score(task, examples, said, name, settings, 0)
    return Job(name, manner, examples, settings), result, records


def _open(shot_count=0, answer=lambda n: "yes" if n % 4 else "no") -> judging.Done:
    """Three of four answers are right; one more example's answer is secret."""
    examples = [
        Example(f"e{n}", (b"x",), f"is it {n}?", references=("yes", "yes"))
        for n in range(COUNT)
    ]
    examples.append(Example("secret", question="what?"))
    outputs = [Output(answer(n)) for n in range(COUNT + 1)]
    return _scored("open", TASK, examples, outputs, shot_count)


def _quiet(_: str) -> None:
    pass


def _number(prompt: str) -> int:
    return int(judging_plans.told(prompt).question.split()[-1].rstrip("?"))


def test_a_judge_of_exact_matches_gives_the_accuracy_and_its_interval(tmp_path):
    lines: list[str] = []
    with chat_server.serve(judging_plans.exact) as server:
        [(job, result, records)] = judging.add(
            _judge(server), [_open()], tmp_path, lines.append
        )
    assert result.figures["judged"] == result.figures["accuracy"]
    assert result.figures["judged"].value == 0.75
    assert result.figures["judged"].low < 0.75 < result.figures["judged"].high
    assert result.judging == (COUNT, {})
    asked = judging_plans.told(server.asked[0].prompt)
    assert asked.question.startswith("<image>Question: is it ")
    assert asked.references == ["yes"]
    assert all(one.fields["temperature"] == 0 for one in server.asked)
    assert result.settings["judge"] == {
        "model": "m",
        "prompt_sha256": rules.digest(),
        "temperature": 0.0,
    }
    for record in records[:-1]:
        assert record["judged"] == (record["parsed"] == "yes")
        assert record["judge_reply"] == ("Yes." if record["judged"] else "no")
    assert "judged" not in records[-1]
    written = (tmp_path / f"{job.stem}.jsonl").read_text().splitlines()
    assert list(map(json.loads, written)) == records
    rows = [line.split()[:4] for line in results.table([result])]
    assert rows[1:] == [["open", "0", "accuracy", "0.75"],
                        ["open", "0", "judged", "0.75"]]  # fmt: skip


def test_nothing_is_asked_twice_neither_of_shots_nor_the_next_time(tmp_path):
    done = [_open(0), _open(4), _open(8, lambda n: "maybe")]
    with chat_server.serve(judging_plans.exact) as server:
        first = judging.add(_judge(server), done, tmp_path, _quiet)
        assert len(server.asked) == 2 * COUNT  # 4 shots gave the answers of none
        assert max(collections.Counter(a.prompt for a in server.asked).values()) == 1
        assert judging.add(_judge(server), done, tmp_path, _quiet) == first
        assert len(server.asked) == 2 * COUNT
        judging.add(_judge(server, "another"), done[:1], tmp_path, _quiet)
        assert len(server.asked) == 3 * COUNT
    assert [one[1].figures["judged"].value for one in first] == [0.75, 0.75, 0.0]


def _troubled(prompt: str, number: int) -> Act:
    troubles = {
        3: Act(400, body=f"bad question, {KEY}".encode()),
        5: Act(finish="length"),
        7: Act(500),
        8: Act(says="The answer is correct, so yes."),
        9: Act(body=b"<html>"),
        11: Act(500) if number == 1 else Act(says="no"),
        13: Act(finish="content_filter"),
    }
    return troubles.get(_number(prompt), Act(says="yes"))


def test_what_it_does_not_say_is_counted_and_left_out(tmp_path):
    lines: list[str] = []
    with chat_server.serve(_troubled) as server:
        [(_, result, records)] = judging.add(
            _judge(server), [_open()], tmp_path, lines.append
        )
        assert result.judging == (
            COUNT - 6,
            {
                "HTTP 400": 1, "HTTP 500": 1, "answer is cut off": 1,
                "answer is filtered": 1, "neither yes nor no": 1,
                "not a chat completion": 1,
            },
        )  # fmt: skip
        share = (COUNT - 7) / (COUNT - 6)  # all that have a verdict but number 11
        assert result.figures["judged"].value == pytest.approx(share)
        by_id = {record["id"]: record for record in records}
        assert by_id["e7"]["judge_failed"] == "HTTP 500"
        assert "judge_reply" not in by_id["e7"]
        assert by_id["e8"]["judge_failed"] == "neither yes nor no"
        assert by_id["e8"]["judge_reply"] == "The answer is correct, so yes."
        assert not {"judged"} & (by_id["e7"].keys() | by_id["e8"].keys())
        assert by_id["e11"]["judged"] is False
        assert "judge: 1 x HTTP 400: bad question, [key]" in lines
        table = results.table([result])[2]
        assert "1 not judged: neither yes nor no" in table
        server.asked.clear()
        server.plan = lambda prompt, number: Act(says="no")
        [(_, result, _)] = judging.add(_judge(server), [_open()], tmp_path, _quiet)
        assert {_number(a.prompt) for a in server.asked} == {3, 5, 7, 9, 13}
    assert result.judging == (COUNT - 1, {"neither yes nor no": 1})
    kept = "".join(path.read_text() for path in tmp_path.iterdir())
    assert KEY not in kept + "".join(lines)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (Act(401), "HTTP 401, the key is refused"),
        (
            Act(404, body=b"no model m"),
            "HTTP 404, no such address or model: no model m",
        ),
        (Act(500), "20 questions in a row without an answer, the last one: HTTP 500"),
        (Act(body=b"{}"), "the last one: not a chat completion"),
        (
            Act(says="I see no image"),
            "the last one: neither yes nor no 'I see no image'",
        ),
    ],
)
def test_a_judge_that_answers_nothing_ends_it_in_one_line(tmp_path, act, says):
    refused = pytest.raises(ValueError, match="--judge: ")
    with chat_server.serve(lambda *_: act) as server, refused as error:
        judging.add(_judge(server), [_open()], tmp_path, _quiet)
    assert says in str(error.value)
    assert "results without it are written; the same command goes on" in str(
        error.value
    )
    assert "\n" not in str(error.value)
    assert len(server.asked) <= 2 * (20 + 2 * FAST.concurrency)


def test_a_few_questions_that_reach_nobody_are_an_error_too(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"  # nobody listens there
        job, result, records = _open()
        few = job._replace(examples=job.examples[:3]), result, records[:3]
        who = Judge(Endpoint(url, "m"), FAST)
        with pytest.raises(ValueError, match="not one reply; 3 x no connection: "):
            judging.add(who, [few], tmp_path, _quiet)


def test_without_a_verdict_there_is_no_figure(tmp_path):
    job, result, records = _open()
    few = job._replace(examples=job.examples[:3]), result, records[:3]
    with chat_server.serve(lambda *_: Act(says="maybe")) as server:
        [(_, result, _)] = judging.add(_judge(server), [few], tmp_path, _quiet)
    assert result.judging == (0, {"neither yes nor no": 3})
    assert "judged" not in result.figures
    row = results.table([result])[2].split(maxsplit=6)
    assert row == ["open", "0", "judged", "-", "-", "0",
                   "3 not judged: neither yes nor no"]  # fmt: skip


def test_tasks_without_open_answers_are_told_and_stay_as_they_are(tmp_path):
    chosen = Example("1", (), "a", ("x", "y"), 0)
    likely = Output(logprobs=(-2.0, -1.0), greedy=(False, False))
    likelihood = [
        _scored("arc", LETTERED, [chosen], [likely], count) for count in (0, 2)
    ]
    secret = _scored("hidden", TASK, [Example("1", question="a")], [Output("b")])
    lines: list[str] = []
    with chat_server.serve(judging_plans.exact) as server:
        found = judging.add(
            _judge(server), [*likelihood, secret], tmp_path, lines.append
        )
    assert not server.asked
    assert found == [*likelihood, secret]
    assert lines == [
        "arc isn't judged: it is by likelihood",
        "hidden isn't judged: none of its answers is known in words",
    ]
    assert not list(tmp_path.iterdir())

"""A file of requests becomes a file of answers, whatever stops the program."""

import json
import pathlib

import pytest
import talking

from mmjax import answering, json_lines, prompt_parts
from mmjax.answering import Request
from mmjax.generate import requests
from mmjax.generate.requests import Batching

WANTED = Request((), 4)


def write(folder: pathlib.Path, *lines: dict | str) -> str:
    (folder / "a.png").write_bytes(talking.image(0).data)
    (folder / "damaged.png").write_bytes(talking.image(0).data[:200])
    path = folder / "asked.jsonl"
    texts = [x if isinstance(x, str) else json.dumps(x) for x in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    return str(path)


def answers(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


GOOD = [
    {"id": "one", "prompt": "a red", "images": ["a.png"]},
    {"id": 2, "prompt": "the <image> dog", "images": ["a.png"], "new_tokens": 7},
    {"id": "scored", "prompt": "a", "continuations": [" dog", " ball"]},
    {
        "id": "4",
        "prompt": "near",
        "temperature": 1,
        "seed": 3,
        "stop": ["e"],
        "stop_ids": [5, 6],
    },
]


def test_each_request_is_answered_as_it_is_alone_in_the_order_of_the_file(
    answerer, tmp_path
):
    lines = requests.read(write(tmp_path, *GOOD), WANTED, True)
    out = tmp_path / "said.jsonl"
    told = list(requests.run(answerer, lines, str(out), Batching(3, True)))
    found = answers(out)
    assert [answer["id"] for answer in found] == ["one", "2", "scored", "4"]
    assert told[-2] == "4 of 4 requests answered, 0 of them failed"
    picture = answering.image(tmp_path / "a.png")
    alone = answering.answer(
        answerer, [WANTED._replace(parts=prompt_parts.woven("a red", [picture]))]
    )[0]
    assert found[0] == {
        "id": "one", "text": alone.text, "tokens": 4, "ended": "length"
    }  # fmt: skip
    assert found[1]["tokens"] == 7
    assert [score["text"] for score in found[2]["scores"]] == [" dog", " ball"]
    score = found[2]["scores"][0]
    assert score["log_likelihood"] == pytest.approx(sum(score["log_likelihoods"]))


def test_finished_ids_are_not_repeated_and_half_a_line_is(answerer, tmp_path):
    path, out = write(tmp_path, *GOOD), tmp_path / "said.jsonl"
    lines = requests.read(path, WANTED, True)
    list(requests.run(answerer, lines, str(out), Batching(2, True)))
    whole = out.read_text()
    cut = "".join(whole.splitlines(keepends=True)[:2]) + '{"id": "sco'
    out.write_text(cut)
    told = list(requests.run(answerer, lines, str(out), Batching(2, True)))
    assert told[0] == "2 of 4 requests are answered already"
    assert out.read_text() == whole
    list(requests.run(answerer, lines, str(out), Batching(2, True)))
    assert out.read_text() == whole


BAD = {
    "{": "not JSON",
    "[]": "must be an object",
    '{"prompt": "a"}': "id: must be a string",
    '{"id": "x", "promt": "a"}': "'promt' is no field: they are id, prompt",
    '{"id": "x", "prompt": 3}': "prompt: must be a string",
    '{"id": "x", "images": "a.png"}': "images: must be a list of strings",
    '{"id": "x", "stop_ids": ["a"]}': "stop_ids: must be a list of whole numbers",
    '{"id": "x", "top_k": 1.5}': "top_k=1.5: must be a whole number",
    '{"id": "x", "temperature": "1"}': "temperature='1': must be a number",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_line_is_one_error_that_names_file_and_line(tmp_path, text):
    path = write(tmp_path, GOOD[0], "", text)
    with pytest.raises(ValueError, match=r"asked\.jsonl, line 3: ") as caught:
        requests.read(path, WANTED, True)
    assert BAD[text] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert BAD[text] in requests.read(path, WANTED, False)[1].error


def test_two_requests_of_one_id_are_refused(tmp_path):
    path = write(tmp_path, GOOD[0], GOOD[1], GOOD[0])
    with pytest.raises(ValueError, match="line 3: id one is that of line 1 too"):
        requests.read(path, WANTED, False)


UNANSWERED = {
    "lost": ({"images": ["no.png"]}, "no.png: No such file"),
    "text": ({"images": ["asked.jsonl"]}, "can't be decoded"),
    "marks": ({"prompt": "<image>"}, "<image> comes 1 times, there are 0"),
    "long": ({"new_tokens": 99}, "are 100: a row has 64"),
}


def test_requests_that_cant_be_answered_stop_it_before_it_begins(answerer, tmp_path):
    out = tmp_path / "said.jsonl"
    for id, (fields, message) in UNANSWERED.items():
        path = write(tmp_path, GOOD[0], {"id": id, **fields})
        lines = requests.read(path, WANTED, True)
        with pytest.raises(ValueError, match=r"asked.jsonl, line 2: ") as caught:
            list(requests.run(answerer, lines, str(out), Batching(1, True)))
        assert message in str(caught.value)
        assert not out.exists()


def test_or_they_are_recorded_and_the_others_answered(answerer, tmp_path):
    lost = [{"id": id, **fields} for id, (fields, _) in UNANSWERED.items()]
    damaged = {"id": "damaged", "images": ["damaged.png"]}
    path = write(tmp_path, GOOD[0], *lost, "{", damaged, GOOD[3])
    out = tmp_path / "said.jsonl"
    lines = requests.read(path, WANTED, False)
    told = list(requests.run(answerer, lines, str(out), Batching(8, False)))
    found = {answer["id"]: answer for answer in answers(out)}
    for id, (_, message) in UNANSWERED.items():
        assert message in found[id]["error"]
    assert "not JSON" in found["line 6"]["error"]
    assert "can't be decoded" in found["damaged"]["error"]
    assert "text" in found["one"]
    assert "text" in found["4"]
    assert told[-2] == "8 of 8 requests answered, 6 of them failed"


def test_answers_are_never_added_to_another_file(tmp_path):
    (tmp_path / "said.jsonl").write_text("hello\n")
    with pytest.raises(ValueError, match=r"said\.jsonl, line 1: no answer"):
        json_lines.read(tmp_path / "said.jsonl", "answer")

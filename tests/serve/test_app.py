"""What the server's addresses answer, over HTTP."""

import json

import pytest
import serving
import talking
from serving import CHAT, words

from data_pipelines.endpoint import chat as client
from data_pipelines.records import Text
from mmjax import answering
from mmjax.answering import Request
from mmjax.generation import speaker


def say(answerer, *parts, **how) -> answering.Answer:
    return answering.answer(answerer, [Request(parts, **how)])[0]


def test_a_chat_gets_what_the_model_says_after_its_prompt(answerer, site):
    image = talking.image(0)
    found = site.ask([words("a red"), serving.part(image), words("dog")], max_tokens=7)
    expected = say(answerer, Text("a red"), image, Text("dog so"), new_tokens=7)
    record = found.json
    choice = record["choices"][0]
    assert choice["message"]["content"] == expected.text
    assert (choice["index"], choice["message"]["role"]) == (0, "assistant")
    assert choice["finish_reason"] == "length"
    used = answering.positions(
        answerer.config, answerer.tokenizer, (Text("a red"), image, Text("dog so"))
    )
    assert record["usage"] == {
        "prompt_tokens": used, "completion_tokens": 7, "total_tokens": used + 7
    }  # fmt: skip
    assert record["object"] == "chat.completion"
    assert record["model"] == "tiny"
    assert record["id"].startswith("chatcmpl-")
    assert found.headers["content-type"] == "application/json"


def test_chance_is_the_seeds_and_its_default_is_another_each_time(answerer, site):
    how = {"temperature": 1.5, "top_p": 0.9, "max_tokens": 8}
    first = site.ask("the dog", **how, seed=3).text
    expected = say(
        answerer, Text("the dog so"), temperature=1.5, top_p=0.9, seed=3, new_tokens=8
    )
    assert first == expected.text
    messages = [{"role": "user", "content": "the dog"}]
    body = json.dumps({"messages": messages, "max_tokens": 8})  # temperature is 1
    assert len({site.send("POST", CHAT, body).text for _ in range(6)}) > 1


def test_without_a_count_an_answer_is_as_long_as_set_or_as_there_is_room(site):
    assert site.ask("a red").json["usage"]["completion_tokens"] == 5
    long = site.ask("dog " * 58).json["usage"]
    assert 1 <= long["completion_tokens"] < 5
    assert long["total_tokens"] == 64


def test_a_stream_is_the_whole_answer_in_pieces(site, monkeypatch):
    monkeypatch.setattr(speaker, "BLOCK", 1)
    free = site.ask("a red", max_tokens=40).text
    stop = free[len(free) // 2 :][:3]
    for how in (
        {"max_tokens": 40},
        {"max_tokens": 40, "stop": [stop, "never"]},
        {"max_tokens": 40, "temperature": 1.2, "seed": 7},
        {"max_tokens": 1},
    ):
        whole = site.ask("a red", **how).json
        stream = site.ask("a red", **how, stream=True)
        assert stream.headers["content-type"].startswith("text/event-stream")
        first, *pieces, last = serving.events(stream.body)
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        deltas = [piece["choices"][0]["delta"] for piece in pieces]
        told = "".join(delta["content"] for delta in deltas)
        assert told == whole["choices"][0]["message"]["content"]
        assert last["choices"][0]["delta"] == {}
        finish = whole["choices"][0]["finish_reason"]
        assert last["choices"][0]["finish_reason"] == finish
        assert finish == ("stop" if "stop" in how else "length")
        assert len({event["id"] for event in (first, *pieces, last)}) == 1
        assert all("usage" not in event for event in (first, *pieces, last))
        if how == {"max_tokens": 40}:
            assert len(pieces) > 1


def test_a_stream_counts_at_its_end_where_that_is_asked(site):
    how = {"stream": True, "stream_options": {"include_usage": True}}
    *others, last = serving.events(site.ask("a red", **how).body)
    assert all(event["usage"] is None for event in others)
    assert last["choices"] == []
    assert last["usage"] == site.ask("a red").json["usage"]


def test_earlier_messages_are_the_start_of_the_prompt(answerer, site):
    messages = [
        {"role": "system", "content": "the"},
        {"role": "user", "content": "a red"},
        {"role": "assistant", "content": "ball"},
        {"role": "user", "content": "dog"},
    ]
    found = site.send(
        "POST", CHAT, json.dumps({"messages": messages, "temperature": 0})
    )
    parts = [Text(t) for t in ("the", "\n", "a red so", "ball", "\n", "dog so")]
    assert found.text == say(answerer, *parts, new_tokens=5).text


def test_what_is_wrong_is_told_in_openais_form(site):
    found = site.ask("a", n=2)
    assert found.status == 400
    assert found.json == {
        "error": {
            "message": "n: must be 1", "type": "invalid_request_error", "param": "n",
            "code": "unsupported_value",
        }
    }  # fmt: skip
    for body in ("{", "[]", b"\xff", "[" * 100_000, '{"messages": 1e999}'):
        found = site.send("POST", CHAT, body)
        assert found.status == 400, body
        assert found.json["error"]["message"]
    assert site.ask("\ud800").json["error"]["param"] == "messages[0].content"
    assert site.ask("a", **{"\ud800": 1}).json["error"]["param"] == "\ud800"
    assert site.ask("a", model="gpt").json["error"]["code"] == "model_not_found"
    assert site.ask("a", model="tiny").status == 200


def test_a_prompt_longer_than_a_row_is_refused_with_its_numbers(site):
    found = site.ask("dog " * 70)
    assert found.status == 400
    assert found.json["error"]["code"] == "context_length_exceeded"
    assert "a row has 64" in found.json["error"]["message"]
    assert site.ask("dog", max_tokens=64).json["error"]["code"] == (
        "context_length_exceeded"
    )


def test_the_model_is_listed_and_other_addresses_are_not_found(site):
    (model,) = site.send("GET", "/v1/models").json["data"]
    assert (model["id"], model["object"]) == ("tiny", "model")
    assert site.send("GET", "/health").json == {"status": "ok"}
    for method, path, status in (
        ("GET", "/v1/completions", 404),
        ("GET", CHAT, 405),
        ("POST", "/", 405),
        ("GET", "/../etc/passwd", 404),
    ):
        found = site.send(method, path)
        assert found.status == status
        assert path in found.json["error"]["message"]


def test_what_happens_is_counted(answerer):
    with serving.served(answerer) as site:
        begun = site.metrics()
        assert begun["mmjax_queue_length"] == 0
        usage = [site.ask("a red", max_tokens=n).json["usage"] for n in (3, 4)]
        site.ask("a", n=2)
        serving.until(lambda: site.metrics()["mmjax_batches_total"] == 2)
        found = site.metrics()
        assert found['mmjax_requests_total{status="200"}'] == 2
        assert found['mmjax_requests_total{status="400"}'] == 1
        assert found["mmjax_batched_requests_total"] == 2
        said = sum(one["completion_tokens"] for one in usage)
        assert found["mmjax_completion_tokens_total"] == said == 7
        read = sum(one["prompt_tokens"] for one in usage)
        assert found["mmjax_prompt_tokens_total"] == read
        assert 0 < found["mmjax_batch_seconds_total"] < 60
        assert 0 < found["mmjax_request_seconds_total"] < 60
        assert found["mmjax_held_bytes"] == 0


def test_our_own_client_is_served(site):
    endpoint = client.Endpoint(f"http://127.0.0.1:{site.port}/v1", "tiny", max_tokens=9)
    with pytest.raises(client.Failure, match="cut off"):
        client.ask(endpoint, "a red", talking.image(1).data)
    with pytest.raises(client.Failure, match="cut off"):
        client.ask(endpoint._replace(temperature=0.0), "a red")
    with pytest.raises(ValueError, match="HTTP 404"):
        client.ask(endpoint._replace(model="other"), "a red", talking.image(1).data)


def test_a_bug_is_the_error_of_one_request(site, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("mmjax.serve.fields.read", broken)
    found = site.ask("a")
    assert found.status == 500
    assert found.json["error"]["type"] == "server_error"
    monkeypatch.undo()
    assert site.ask("a").status == 200

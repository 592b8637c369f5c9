"""Every request gets its own answer, whoever waits, leaves or fails beside it."""

import asyncio
import contextlib
import http.client
import json
import socket

import pytest
import serving
import talking
from serving import Call, words

from data_pipelines.records import Text
from mmjax import answering
from mmjax.answering import Request
from mmjax.generation import speaker
from mmjax.serve import app as app_lib
from mmjax.serve.fields import Rules
from mmjax.serve.limits import Limits

WORDS = ("a red", "the dog", "a small cube", "near", "the blue ball lies", "and it")


def prompts(count: int) -> list:
    """Different ones, each with an image of its own."""
    return [
        [serving.part(image), words(f" {WORDS[i % len(WORDS)]}")]
        for i, image in enumerate(serving.pictures(count))
    ]


def waiting(site, count: int) -> None:
    serving.until(lambda: site.metrics()["mmjax_queue_length"] == count)


def test_requests_asked_together_get_what_each_gets_alone(answerer, gate):
    with serving.served(answerer, Limits(batch=8)) as site:
        gate.open()
        alone = [site.ask(prompt, max_tokens=8).text for prompt in prompts(24)]
        assert len(set(alone)) > 12
        calls = [
            Call(site.ask, prompt, max_tokens=8, stream=i % 2 == 1)
            for i, prompt in enumerate(prompts(24))
        ]
        for number, call in enumerate(calls):
            reply = call.result()
            if number % 2:
                chunks = [e["choices"][0]["delta"] for e in serving.events(reply.body)]
                text = "".join(chunk.get("content", "") for chunk in chunks)
            else:
                text = reply.text
            assert text == alone[number]
    together = [batch for batch in gate.batches if len(batch) > 1]
    assert together
    assert all(len(batch) <= 8 for batch in together)


def test_a_batch_is_prompts_that_are_laid_out_alike_the_oldest_first(answerer, gate):
    short, long = "a red", "dog " * 30
    with serving.served(answerer, Limits(batch=2)) as site:
        calls = [Call(site.ask, short)]
        serving.until(lambda: gate.batches)
        for count, prompt in enumerate((long, short, long, short, long), 1):
            calls.append(Call(site.ask, prompt))
            waiting(site, count)
        gate.open()
        assert all(call.result().status == 200 for call in calls)
    sizes = [len(request.parts[0].text) for batch in gate.batches for request in batch]
    counts = [len(batch) for batch in gate.batches]
    small, large = len(f"{short} so"), len(f"{long} so")
    assert counts == [1, 2, 2, 1]
    assert sizes == [small, large, large, small, small, large]


def test_a_full_line_is_told_with_the_time_to_come_back(answerer, gate):
    with serving.served(answerer, Limits(queue=2)) as site:
        first = Call(site.ask, "a red")
        serving.until(lambda: gate.batches)
        others = [Call(site.ask, "the dog") for _ in range(2)]
        waiting(site, 2)
        refused = site.ask("near")
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json["error"]["code"] == "queue_full"
        assert refused.json["error"]["type"] == "rate_limit_error"
        gate.open()
        assert [call.result().status for call in (first, *others)] == [200] * 3
        assert site.ask("near").status == 200


def gone(site, count: int) -> None:
    name = 'mmjax_requests_total{status="499"}'
    serving.until(lambda: site.metrics().get(name) == count)


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_the_line_is_not_answered(answerer, gate, stream):
    with serving.served(answerer) as site:
        first = Call(site.ask, "a red")
        serving.until(lambda: gate.batches)
        leaver = site.connect(serving.raw(serving.asked("cube", stream=stream)))
        waiting(site, 1)
        other = Call(site.ask, "the dog")
        waiting(site, 2)
        leaver.close()
        waiting(site, 1)
        gate.open()
        assert first.result().status == other.result().status == 200
        gone(site, 1)
    asked = [request.parts[0].text for batch in gate.batches for request in batch]
    assert asked == ["a red so", "the dog so"]


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_a_batch_harms_no_other(answerer, gate, stream):
    with serving.served(answerer) as site:
        first = Call(site.ask, "near")
        serving.until(lambda: gate.batches)
        leaver = site.connect(serving.raw(serving.asked("cube", stream=stream)))
        waiting(site, 1)
        others = [Call(site.ask, prompt, max_tokens=40) for prompt in ("a red", "it")]
        waiting(site, 3)

        def leave(answerer, requests, watch=None, answer=answering.answer):
            if len(requests) == 3:
                leaver.close()
                gone(site, 1)
            return answer(answerer, requests, watch)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(answering, "answer", leave)
            gate.open()
            found = [call.result().text for call in others]
        assert first.result().status == 200
        assert found == [site.ask(p, max_tokens=40).text for p in ("a red", "it")]
    assert [len(batch) for batch in gate.batches[:2]] == [1, 3]


def test_a_batch_that_nobody_waits_for_any_more_is_given_up(answerer, monkeypatch):
    monkeypatch.setattr(speaker, "BLOCK", 1)
    seen = []
    answer = answering.answer

    def slow(answerer, requests, watch):
        def look(answers):
            watch(answers)
            seen.append(answers[0].tokens)
            if len(seen) == 2:
                leaver.close()
                gone(site, 1)

        return answer(answerer, requests, look)

    monkeypatch.setattr(answering, "answer", slow)
    with serving.served(answerer) as site:
        fields = serving.asked("a red", max_tokens=40, stream=True)
        leaver = site.connect(serving.raw(fields))
        gone(site, 1)
        monkeypatch.setattr(answering, "answer", answer)
        assert site.ask("a red").status == 200
    assert seen == [1, 2]


def test_an_answer_that_has_ended_does_not_wait_for_its_batch(answerer, monkeypatch):
    answer, steps = answering.answer, []

    def watched(answerer, requests, watch):
        def look(answers):
            watch(answers)
            steps.append([found.ended for found in answers])
            if len(requests) == 2 and len(steps) == 1:
                assert short.result().json["usage"]["completion_tokens"] == 1

        return answer(answerer, requests, look)

    with serving.served(answerer) as site:
        gate = serving.Gate(monkeypatch)
        first = Call(site.ask, "near")
        serving.until(lambda: gate.batches)
        long = Call(site.ask, "a red", max_tokens=40)
        short = Call(site.ask, "the dog", max_tokens=1)
        waiting(site, 2)
        monkeypatch.setattr(answering, "answer", watched)
        gate.open()
        assert long.result().json["usage"]["completion_tokens"] == 40
        assert first.result().status == 200
    assert sorted(steps[0]) == ["", "length"]


def test_what_the_model_fails_at_harms_no_other(answerer, gate, monkeypatch, caplog):
    gated = answering.answer

    def failing(answerer, requests, watch=None):
        if any("cube" in request.parts[0].text for request in requests):
            raise RuntimeError("out of memory")
        return gated(answerer, requests, watch)

    with serving.served(answerer) as site:
        monkeypatch.setattr(answering, "answer", failing)
        first = Call(site.ask, "near")
        serving.until(lambda: gate.batches)
        bad = [Call(site.ask, "cube", stream=stream) for stream in (False, True)]
        good = [Call(site.ask, prompt) for prompt in ("a red", "the dog")]
        waiting(site, 4)
        gate.open()
        texts = [call.result().text for call in good]
        for call in bad:
            assert call.result().status == 500
            assert b"the model failed" in call.result().body
            assert b"out of memory" not in call.result().body
        assert first.result().status == 200
        assert texts == [site.ask(prompt).text for prompt in ("a red", "the dog")]
    assert "out of memory" in caplog.text


def test_a_failure_in_the_middle_of_a_stream_ends_it(answerer, monkeypatch):
    monkeypatch.setattr(speaker, "BLOCK", 1)
    answer = answering.answer

    def failing(answerer, requests, watch):
        def look(answers):
            watch(answers)
            if answers[0].tokens == 8:
                raise RuntimeError("a bug")

        return answer(answerer, requests, look)

    monkeypatch.setattr(answering, "answer", failing)
    with serving.served(answerer) as site:
        reply = site.ask("a red", stream=True, max_tokens=40)
    *_, last, rest = reply.body.decode().split("\n\n")
    assert rest == ""
    error = json.loads(last.removeprefix("data: "))["error"]
    assert error["type"] == "server_error"


async def through(app, fields: dict, send) -> None:
    """One chat through the application, by a client that stays."""
    told = [{"type": "http.request", "body": json.dumps(fields).encode()}]

    async def receive():
        return told.pop() if told else await asyncio.Event().wait()

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "POST", "path": serving.CHAT, "headers": [], "query_string": b"",
    }  # fmt: skip
    await app(scope, receive, send)


def test_who_takes_no_more_gets_the_rest_in_one_piece_and_holds_up_nobody(
    answerer, monkeypatch
):
    monkeypatch.setattr(speaker, "BLOCK", 1)
    rules = Rules(answerer, "tiny", serving.MANNER, Limits())
    slow, quick = [], []

    async def both() -> None:
        app, _ = app_lib.make(rules)
        stuck, free = asyncio.Event(), asyncio.Event()

        async def send_slowly(message) -> None:
            slow.append(message.get("body", b""))
            if b'"content": "' in slow[-1] and b'"role"' not in slow[-1]:
                stuck.set()
                await free.wait()

        async def send(message) -> None:
            quick.append(message)

        fields = serving.asked("a red", stream=True, max_tokens=40)
        async with app.router.lifespan_context(app):
            first = asyncio.create_task(through(app, fields, send_slowly))
            await stuck.wait()
            await through(app, serving.asked("the dog"), send)  # in a later batch
            assert not first.done()
            free.set()
            await first

    asyncio.run(both())
    assert quick[0]["status"] == 200
    events = serving.events(b"".join(slow))
    deltas = [event["choices"][0]["delta"] for event in events]
    pieces = [delta["content"] for delta in deltas[1:] if delta]
    assert len(pieces) == 2
    expected = answering.answer(answerer, [Request((Text("a red so"),), 40)])[0]
    assert "".join(pieces) == expected.text


@pytest.mark.parametrize("stream", [False, True])
def test_at_the_end_the_running_batch_is_finished_and_what_waits_refused(
    answerer, gate, stream
):
    with serving.served(answerer) as site:
        running = Call(site.ask, "a red", stream=stream)
        serving.until(lambda: gate.batches)
        late = [Call(site.ask, "the dog", stream=s) for s in (False, True)]
        waiting(site, 2)
        site.server.should_exit = True
        for call in late:
            reply = call.result()
            assert reply.status == 503
            assert reply.json["error"]["code"] == "shutting_down"
        assert site.send("GET", "/health").status == 503
        assert site.ask("near").status == 503
        gate.open()
        body = running.result().body
        assert serving.events(body) if stream else running.result().text
        serving.until(lambda: refuses(site.port))


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_many_requests_follow_each_other_on_one_connection(site):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    with contextlib.closing(connection):
        for prompt, stream in (("a red", False), ("the dog", True), ("near", False)):
            body = json.dumps(serving.asked(prompt, stream=stream))
            connection.request("POST", serving.CHAT, body)
            reply = connection.getresponse()
            assert reply.status == 200
            assert reply.read()
            assert connection.sock is not None


def test_pictures_of_the_tests_differ():
    assert len({image.data for image in serving.pictures(24)}) == 24
    assert talking.image(3) == talking.image(3)

"""One question: asked as the protocol says, and every trouble by its name."""

import datetime
import email.utils
import json

import chat_server
import pytest
from chat_server import Act

from data_pipelines.endpoint import chat
from data_pipelines.endpoint.chat import Endpoint, Failure, Later

KEY = "sk-very-secret-0123456789"
FLAGS = chat.Flags("--endpoint", "--model", "--api_key_env")
JPEG, PNG = b"\xff\xd8 jpeg", b"\x89PNG png"


def _endpoint(server, **changes) -> Endpoint:
    return chat.check(
        Endpoint(server.url, "m", KEY, 50, 5.0)._replace(**changes), FLAGS
    )


def test_a_question_is_as_the_protocol_says():
    with chat_server.serve() as server:
        answer = chat.ask(_endpoint(server, url=server.url + "/"), "What is it?", PNG)
    assert answer == (chat_server.description("What is it?", PNG), 100, 10)
    (asked,) = server.asked
    assert (asked.prompt, asked.image) == ("What is it?", PNG)
    assert (asked.fields["model"], asked.fields["max_tokens"]) == ("m", 50)
    url = asked.fields["messages"][0]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/png;base64,")
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["Content-Type"] == "application/json"
    assert "temperature" not in asked.fields


def test_a_question_without_image_is_a_text_and_takes_a_temperature():
    with chat_server.serve(lambda *_: Act(says="yes")) as server:
        answer = chat.ask(_endpoint(server, temperature=0.0), "Is it?")
    assert answer.text == "yes"
    (asked,) = server.asked
    assert asked.fields["messages"] == [{"role": "user", "content": "Is it?"}]
    assert asked.fields["temperature"] == 0


def test_a_key_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("MMJAX_TEST_KEY", f" {KEY}\n")
    assert chat.key("MMJAX_TEST_KEY", "--flag") == KEY
    assert chat.key("", "--flag") == ""
    with pytest.raises(ValueError, match="--flag=MMJAX_NO_KEY: no such environment"):
        chat.key("MMJAX_NO_KEY", "--flag")


def _content(content, **choice) -> bytes:
    return json.dumps(
        {"choices": [{"message": {"content": content}, **choice}]}
    ).encode()


@pytest.mark.parametrize(
    ("act", "kind", "reason"),
    [
        (Act(429), Later, "HTTP 429"),
        (Act(500), Later, "HTTP 500"),
        (Act(503), Later, "HTTP 503"),
        (Act(529), Later, "HTTP 529"),
        (Act(hang=1.0), Later, "timeout"),
        (Act(drop=True), Later, "not a chat completion"),
        (Act(body=b"<html>"), Later, "not a chat completion"),
        (Act(body=b'{"choices": []}'), Later, "not a chat completion"),
        (Act(body=b'"text"'), Later, "not a chat completion"),
        (Act(body=_content(["part"])), Later, "not a chat completion"),
        (Act(body=_content("half \ud800")), Later, "not a chat completion"),
        (Act(body=_content(" \n")), Later, "empty answer"),
        (Act(body=_content(None)), Later, "empty answer"),
        (Act(finish="length"), Failure, "answer is cut off"),
        (Act(finish="content_filter"), Failure, "answer is filtered"),
        (Act(400, body=b"image too\nlarge"), Failure, "HTTP 400"),
        (Act(413), Failure, "HTTP 413"),
    ],
)
def test_each_trouble_has_its_name_and_says_whether_to_ask_again(act, kind, reason):
    patience = 0.3 if act.hang else 30.0
    with chat_server.serve(lambda *_: act) as server, pytest.raises(Failure) as error:
        chat.ask(_endpoint(server, timeout=patience), "What?", JPEG)
    assert type(error.value) is kind
    assert error.value.reason == reason
    assert "\n" not in error.value.detail


def test_a_server_that_is_not_there_is_asked_again():
    with chat_server.serve() as server:
        endpoint = _endpoint(server)
    with pytest.raises(Later, match="no connection"):
        chat.ask(endpoint, "What?", JPEG)


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404])
def test_what_never_gets_better_ends_the_run(status):
    with chat_server.serve() as other:
        headers = {"Location": other.url + "/chat/completions"}
        act = Act(status, headers, f"no: {KEY}".encode())
        says = pytest.raises(ValueError, match=f"HTTP {status}")
        with chat_server.serve(lambda *_: act) as server, says as error:
            chat.ask(_endpoint(server), "What?", JPEG)
    assert not other.asked  # a redirect would have taken the key along
    assert KEY not in str(error.value)


def _in(seconds: float) -> str:
    date = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return email.utils.format_datetime(date, usegmt=True)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("-3", 0, 0),
        ("1e9", chat.LONGEST_PAUSE, chat.LONGEST_PAUSE),
        (lambda: _in(1000), 990, 1000),
        (lambda: _in(-1000), 0, 0),
    ],
    ids=["seconds", "part", "negative", "long", "later", "earlier"],
)
def test_a_server_says_when_to_come_back(value, low, high):
    act = Act(429, {"Retry-After": value() if callable(value) else value})
    with chat_server.serve(lambda *_: act) as server, pytest.raises(Later) as error:
        chat.ask(_endpoint(server), "What?", JPEG)
    assert error.value.wait is not None
    assert low <= error.value.wait <= high


@pytest.mark.parametrize("value", ["soon", "nan", ""])
def test_a_time_that_is_none_is_left_aside(value):
    act = Act(503, {"Retry-After": value})
    with chat_server.serve(lambda *_: act) as server, pytest.raises(Later) as error:
        chat.ask(_endpoint(server), "What?", JPEG)
    assert error.value.wait is None


def test_a_key_that_the_server_repeats_is_not_shown():
    acts = {
        "error": Act(400, body=f"bad request with Bearer {KEY}".encode()),
        "answer": Act(body=_content(f"I was sent {KEY}")),
    }
    with chat_server.serve(lambda prompt, _: acts[prompt]) as server:
        endpoint = _endpoint(server)
        with pytest.raises(Failure) as error:
            chat.ask(endpoint, "error", JPEG)
        assert error.value.detail == "bad request with Bearer [key]"
        assert chat.ask(endpoint, "answer", JPEG).text == "I was sent [key]"
    assert KEY not in repr(endpoint)
    assert KEY not in f"{endpoint}"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"url": "localhost:8000/v1"}, "must be as http://"),
        ({"url": "ftp://host/v1"}, "must be as http://"),
        ({"url": "http://host:99999/v1"}, "must be as http://"),
        ({"url": "http://[host/v1"}, "must be as http://"),
        ({"url": "http://host/of mine"}, "must be as http://"),
        ({"url": "http://user:secretsecret@host/v1"}, "no keys in addresses"),
        ({"url": "http://host/v1?key=secretsecret"}, "no keys in addresses"),
        ({"model": ""}, "--model"),
        ({"key": "secretsecret\n"}, "characters that no key has"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(changes, rule):
    with pytest.raises(ValueError, match=rule) as error:
        chat.check(Endpoint("http://host/v1", "m")._replace(**changes), FLAGS)
    if "secret" in str(changes):
        assert "secret" not in str(error.value)

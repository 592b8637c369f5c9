"""A server in a thread of this process, and clients that ask it over sockets."""

import base64
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import talking

from data_pipelines.records import Image
from mmjax import answering
from mmjax.answering import Answerer, Request
from mmjax.generate.chat import Manner
from mmjax.serve import app as app_lib
from mmjax.serve import running
from mmjax.serve.fields import Rules
from mmjax.serve.limits import Limits

CHAT = "/v1/chat/completions"
MANNER = Manner("{text} so", "\n", Request((), new_tokens=5))


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]  # names in small letters
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """Of a whole answer."""
        assert self.status == 200, self.body
        return self.json["choices"][0]["message"]["content"]


class Site(NamedTuple):
    """A server that runs."""

    port: int
    server: running.Server

    def send(self, method: str, path: str, body=None, headers=None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            named = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, named, reply.read())

    def ask(self, prompt: Any, **fields: Any) -> Reply:
        """One message of the user: its content, and what else is asked."""
        return self.send("POST", CHAT, json.dumps(asked(prompt, **fields)))

    def metrics(self) -> dict[str, float]:
        lines = self.send("GET", "/metrics").body.decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def connect(self, data: bytes) -> socket.socket:
        """A connection on which this was sent."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        made.sendall(data)
        return made


def asked(prompt: Any, **fields: Any) -> dict[str, Any]:
    """The fields of a greedy request."""
    messages = [{"role": "user", "content": prompt}]
    return {"messages": messages, "temperature": 0, **fields}


def raw(fields: dict[str, Any]) -> bytes:
    """A whole request as it goes over the wire."""
    body = json.dumps(fields).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def url(image: Image) -> str:
    return "data:image/png;base64," + base64.b64encode(image.data).decode()


def part(image: Image) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url(image)}}


def words(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def events(body: bytes) -> list[Any]:
    """The events of a stream, without its end, which must be there."""
    *texts, last, rest = body.decode().split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    return [json.loads(text.removeprefix("data: ")) for text in texts]


@contextlib.contextmanager
def served(
    answerer: Answerer, limits: Limits | None = None, manner: Manner = MANNER
) -> Iterator[Site]:
    """The server of a model, until the end of the block."""
    rules = Rules(answerer, "tiny", manner, limits or Limits())
    app, line = app_lib.make(rules)
    where = running.listen("127.0.0.1", 0)
    port = where.getsockname()[1]
    server = running.Server(app, line, rules.limits)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [where]}, daemon=True
    )
    thread.start()
    try:
        yield Site(port, server)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


class Gate:
    """Holds the model before each batch until it is opened; notes what it is asked."""

    def __init__(self, monkeypatch: Any):
        self.batches: list[list[Request]] = []
        self._open = threading.Event()
        answer = answering.answer

        def gated(answerer, requests, watch=None):
            self.batches.append(list(requests))
            assert self._open.wait(120)
            return answer(answerer, requests, watch)

        monkeypatch.setattr(answering, "answer", gated)

    def open(self) -> None:
        self._open.set()


class Call(threading.Thread):
    """A function's result, made in a thread."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, **named: Any):
        super().__init__(daemon=True)
        self._work = (function, arguments, named)
        self._found: Any = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        function, arguments, named = self._work
        try:
            self._found = function(*arguments, **named)
        except Exception as error:
            self.error = error

    def result(self) -> Any:
        self.join(120)
        assert not self.is_alive()
        if self.error:
            raise self.error
        return self._found


def until(true: Callable[[], Any], seconds: float = 60) -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def pictures(count: int) -> list[Image]:
    return [talking.image(seed) for seed in range(count)]

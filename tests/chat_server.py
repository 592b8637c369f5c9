"""A small chat endpoint that can misbehave in every way, in threads of this process."""

import base64
import collections
import contextlib
import hashlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Act(NamedTuple):
    """What the server does with one question."""

    status: int = 200
    headers: dict = {}  # noqa: RUF012
    body: bytes | None = None  # instead of an answer
    says: str | None = None  # the answer; None: a description
    finish: str = "stop"
    hang: float = 0.0  # seconds before anything is sent
    drop: bool = False  # the connection, in the middle


OK = Act()
Plan = Callable[[str, int], Act]  # of a prompt and which time it is asked, from 1


class Asked(NamedTuple):
    """A question as it came."""

    prompt: str
    image: bytes  # empty: a question without one
    headers: dict
    fields: dict
    at: float


class Server:
    """`url` to ask at, and what was `asked`; `answered` counts whole answers."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.asked: list[Asked] = []
        self.answered: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def note(self, asked: Asked) -> int:
        with self._lock:
            self.asked.append(asked)
            return sum(other.prompt == asked.prompt for other in self.asked)


def description(prompt: str, image: bytes) -> str:
    """What the model says: it follows from the question."""
    return f"seen {hashlib.sha256(prompt.encode() + image).hexdigest()[:12]}, caf\u00e9"


@contextlib.contextmanager
def serve(plan: Plan = lambda prompt, number: OK) -> Iterator[Server]:
    """A server for the length of a test."""
    server = Server(plan)
    server.http.daemon_threads = True
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def _handler(server: Server) -> type:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/chat/completions"
            data = self.rfile.read(int(self.headers["Content-Length"]))
            asked = _parsed(data, dict(self.headers))
            act = server.plan(asked.prompt, server.note(asked))
            time.sleep(act.hang)
            with contextlib.suppress(OSError):
                self._send(act, asked)

        def _send(self, act, asked):
            body = act.body
            if body is None and act.status == 200:
                body = _reply(asked, act)
                server.answered[asked.prompt] += 1
            self.send_response(act.status)
            body = body or b""
            for header in {"Content-Length": str(len(body)), **act.headers}.items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if act.drop else body)
            if act.drop:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_):
            pass

    return Handler


def _parsed(data: bytes, headers: dict) -> Asked:
    fields = json.loads(data)
    content = fields["messages"][0]["content"]
    if isinstance(content, str):
        return Asked(content, b"", headers, fields, time.monotonic())
    image, text = content
    encoded = image["image_url"]["url"].split(";base64,")[1]
    return Asked(
        text["text"], base64.b64decode(encoded), headers, fields, time.monotonic()
    )


def _reply(asked: Asked, act: Act) -> bytes:
    says = act.says
    if says is None:
        says = description(asked.prompt, asked.image)
    message = {"role": "assistant", "content": says}
    choice = {"index": 0, "message": message, "finish_reason": act.finish}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return json.dumps({"choices": [choice], "usage": usage}).encode()

"""Bodies are limited in bytes and time while they are read."""

import http.client
import json
import time

import pytest
import serving
from serving import CHAT

from mmjax.serve import bodies
from mmjax.serve.limits import Limits

SMALL = Limits(request_bytes=1000, seconds=1.5)


@pytest.fixture(scope="module")
def small(answerer):
    with serving.served(answerer, SMALL) as site:
        yield site


def replied(connection, closed: bool = False) -> tuple[int, dict]:
    """Status and JSON of what comes, and whether the connection ends there."""
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    found = reply.status, json.loads(reply.read())
    assert (reply.getheader("connection") == "close") == closed
    if closed:
        assert connection.recv(1) == b""
    return found


def head(length: int) -> bytes:
    return (
        f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n".encode()
    )


GOOD = serving.raw(serving.asked("a red"))


def test_a_body_that_says_it_is_too_large_is_not_waited_for(small):
    with small.connect(head(1001)) as connection:
        status, record = replied(connection)
        assert status == 413
        assert "larger than 1000 bytes" in record["error"]["message"]
        connection.sendall(b" " * 1001 + GOOD)  # and is thrown away
        assert replied(connection)[0] == 200


def test_a_body_in_chunks_is_refused_where_it_is_too_large(small):
    begin = f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"190\r\n" + b" " * 400 + b"\r\n"
    with small.connect(begin.encode() + chunk + chunk) as connection:
        time.sleep(0.2)  # 800 bytes are fine
        connection.sendall(chunk)
        assert replied(connection)[0] == 413
        assert small.metrics()["mmjax_held_bytes"] == 0
        connection.sendall(chunk * 1000 + b"0\r\n\r\n" + GOOD)
        assert replied(connection)[0] == 200


def test_a_body_that_does_not_come_in_time_is_told_so_and_holds_up_nobody(small):
    begun = time.monotonic()
    with small.connect(head(500) + b'{"messages"') as connection:
        assert small.ask("a red").status == 200
        status, record = replied(connection, closed=True)
        assert status == 408
        assert "1.5 seconds" in record["error"]["message"]
        assert 1 < time.monotonic() - begun < 20
    serving.until(lambda: small.metrics()["mmjax_held_bytes"] == 0)


def test_bodies_hold_a_few_times_the_largest_together(answerer, monkeypatch):
    monkeypatch.setattr(bodies, "TOGETHER", 2)
    limits = Limits(request_bytes=1000, seconds=60)
    with serving.served(answerer, limits) as site:
        half = head(1000) + b" " * 900
        first, second = site.connect(half), site.connect(half)
        serving.until(lambda: site.metrics()["mmjax_held_bytes"] == 1800)
        with site.connect(head(900) + b" " * 800) as third:
            status, record = replied(third)
        assert status == 429
        assert "at once" in record["error"]["message"]
        assert site.ask("a").status == 200  # of few bytes
        first.close()
        second.close()
        serving.until(lambda: site.metrics()["mmjax_held_bytes"] == 0)
        assert site.metrics()['mmjax_requests_total{status="499"}'] == 2

"""Replies in OpenAI's form: completions, their chunks, models."""

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from mmjax.serve.problems import Problem
from mmjax.serve.ticket import Ticket

# What ended a text, in OpenAI's words.
FINISH = {"end": "stop", "stop": "stop", "length": "length"}
DONE = b"data: [DONE]\n\n"


class Heading(NamedTuple):
    """What all parts of an answer begin with."""

    id: str
    created: int  # seconds since 1970
    model: str

    def record(self, kind: str) -> dict[str, Any]:
        return {**self._asdict(), "object": kind}


def heading(model: str) -> Heading:
    return Heading(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), model)


def encode(record: dict[str, Any]) -> bytes:
    """JSON in ASCII: half a character that a client sent can be shown to it."""
    return json.dumps(record).encode("ascii")


def completion(head: Heading, ticket: Ticket) -> bytes:
    """A whole answer."""
    message = {"role": "assistant", "content": ticket.answer.text, "refusal": None}
    finish = FINISH[ticket.answer.ended]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    record = {**head.record("chat.completion"), "choices": [choice]}
    return encode({**record, "usage": _usage(ticket)})


async def events(head: Heading, ticket: Ticket, usage: bool) -> AsyncIterator[bytes]:
    """An answer as it is said: server-sent events, the last one is DONE.

    With `usage`, one before it has the counts. What fails in between is told, and ends
    them.
    """
    record = head.record("chat.completion.chunk") | ({"usage": None} if usage else {})

    def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**record, "choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    try:
        async for text in ticket.texts():
            yield chunk({"content": text})
    except Problem as problem:
        yield event(problem.record())
        return
    yield chunk({}, FINISH[ticket.answer.ended])
    if usage:
        yield event({**record, "choices": [], "usage": _usage(ticket)})
    yield DONE


def event(record: dict[str, Any]) -> bytes:
    return b"data: " + encode(record) + b"\n\n"


def models(name: str, created: int) -> bytes:
    """The list of the one model."""
    model = {"id": name, "object": "model", "created": created, "owned_by": "mmjax"}
    return encode({"object": "list", "data": [model]})


def _usage(ticket: Ticket) -> dict[str, int]:
    """Positions of the prompt, images included, and tokens said."""
    prompt, said = ticket.positions, ticket.answer.tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": said,
        "total_tokens": prompt + said,
    }

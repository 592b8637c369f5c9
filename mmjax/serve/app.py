"""The server's routes: what each address answers."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mmjax.serve import clients, fields, page, problems, replies
from mmjax.serve import counts as counts_lib
from mmjax.serve.bodies import Bodies
from mmjax.serve.counts import LEFT, Counts
from mmjax.serve.fields import Asked, Rules
from mmjax.serve.line import Line
from mmjax.serve.problems import Problem

CHAT = "/v1/chat/completions"
READERS = 2  # threads that parse requests and decode images


class Service(NamedTuple):
    """What the routes share."""

    rules: Rules
    line: Line
    counts: Counts
    bodies: Bodies
    readers: ThreadPoolExecutor
    created: int  # seconds since 1970


def make(rules: Rules) -> tuple[Starlette, Line]:
    """The application of a model, and its line; the application starts and ends it."""
    counts = Counts()
    line = Line(rules.answerer, rules.limits, counts)
    readers = ThreadPoolExecutor(READERS, "reader")
    bodies = Bodies(rules.limits)
    service = Service(rules, line, counts, bodies, readers, int(time.time()))

    @contextlib.asynccontextmanager
    async def living(_app: Starlette) -> AsyncIterator[None]:
        line.start()
        yield
        await line.close()
        readers.shutdown()

    routes = [
        Route(path, functools.partial(answer, service), methods=[method])
        for path, (method, answer) in ROUTES.items()
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(clients.Counted, counts, CHAT)],
        exception_handlers={
            Problem: _told, HTTPException: _unknown, ClientDisconnect: _left,
            Exception: _failed,
        },
        lifespan=living,
    )  # fmt: skip
    return app, line


async def _complete(service: Service, request: Request) -> Response:
    """Answers a chat, whole or as it is said."""
    line = service.line
    try:
        line.check()
    except Problem:
        await service.bodies.forget(request)
        raise
    asked = await _asked(service, request)
    ticket = line.join(asked.request, asked.positions)
    head = replies.heading(service.rules.name)
    try:
        if asked.stream:
            await clients.unless_left(request, ticket.begun())
            return clients.Events(
                line, ticket, replies.events(head, ticket, asked.usage)
            )
        await clients.unless_left(request, ticket.whole())
        return _json(replies.completion(head, ticket))
    except BaseException:
        line.leave(ticket)
        raise


async def _asked(service: Service, request: Request) -> Asked:
    """What a client wants; read, parsed and checked, the last two in another thread."""
    async with service.bodies.read(request) as body:
        work = functools.partial(fields.read, service.rules, body)
        return await asyncio.get_running_loop().run_in_executor(service.readers, work)


async def _models(service: Service, request: Request) -> Response:
    return _json(replies.models(service.rules.name, service.created))


async def _health(service: Service, request: Request) -> Response:
    """Whether requests are taken."""
    if service.line.closed:
        raise problems.ending()
    return _json(replies.encode({"status": "ok"}))


async def _metrics(service: Service, request: Request) -> Response:
    gauges = {
        "queue_length": ("Requests that wait.", len(service.line)),
        "held_bytes": ("Of requests that are being read.", service.bodies.held),
    }
    text = counts_lib.text(service.counts, gauges)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _page(service: Service, request: Request) -> Response:
    found = page.read()
    return Response(found.html, headers=found.headers)


ROUTES = {
    "/": ("GET", _page),
    "/health": ("GET", _health),
    "/metrics": ("GET", _metrics),
    "/v1/models": ("GET", _models),
    CHAT: ("POST", _complete),
}


def _json(data: bytes, status: int = 200, headers: dict | None = None) -> Response:
    return Response(data, status, headers, "application/json")


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _json(replies.encode(error.record()), error.status, error.headers)


async def _unknown(request: Request, error: Exception) -> Response:
    """An address or a method that isn't one."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    problem = Problem(error.status_code, message, headers=dict(error.headers or {}))
    return await _told(request, problem)


async def _left(request: Request, error: Exception) -> Response:
    """Nobody reads it; it is counted."""
    return Response(status_code=LEFT)


async def _failed(request: Request, error: Exception) -> Response:
    """A bug of ours; its traceback is logged."""
    return await _told(request, Problem(500, "the server failed at this request"))

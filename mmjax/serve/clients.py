"""Clients while they are served: they may leave at any time, and are counted."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmjax.serve.counts import LEFT, Counts
from mmjax.serve.line import Line
from mmjax.serve.ticket import Ticket

A = TypeVar("A")


async def unless_left(request: Request, work: Coroutine[Any, Any, A]) -> A:
    """What the work comes to; ClientDisconnect where the client goes before that."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_leaves(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        leaving.cancel()


async def _leaves(request: Request) -> None:
    """Returns when the client of a request that was read is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Events(StreamingResponse):
    """A stream of events; where its client goes, its ticket leaves the line."""

    def __init__(self, line: Line, ticket: Ticket, content: AsyncIterator[bytes]):
        headers = {"Cache-Control": "no-cache"}
        super().__init__(content, headers=headers, media_type="text/event-stream")
        self._line, self._ticket = line, ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._line.leave(self._ticket)


class Counted:
    """Counts the requests of a path by status, and the seconds that they take."""

    def __init__(self, app: ASGIApp, counts: Counts, path: str):
        self._app, self._counts, self._path = app, counts, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        begun, status, complete = time.monotonic(), LEFT, False

        async def note(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            complete |= not message.get("more_body", False) and "body" in message

        try:
            await self._app(scope, receive, note)
        except Exception:  # told further out
            status, complete = 500, True
            raise
        finally:
            seconds = time.monotonic() - begun
            self._counts.request(status if complete else LEFT, seconds)

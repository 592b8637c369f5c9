"""Bodies of requests, limited in bytes and time while they are read.

What is left of a body that is too large is thrown away as it comes: were the connection
closed at once, many clients would see that in place of the reply.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.requests import Request

from mmjax.serve.limits import Limits
from mmjax.serve.problems import CLOSE, Problem

TOGETHER = 8  # bodies of the largest size that may be held while they are read


class Bodies:
    """Reads bodies, and counts the bytes that are held until requests are parsed."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self.held = 0  # bytes

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body, held inside; Problem where it is too large, too slow or too much.

        Slow clients hold few bytes, so they take nobody's room.
        """
        chunks: list[bytes] = []

        def keep(chunk: bytes) -> None:
            chunks.append(chunk)
            self.held += len(chunk)
            if self.held > TOGETHER * self._limits.request_bytes:
                message = "too much is being read at once: ask again soon"
                raise Problem(429, message, headers={"Retry-After": "1"})

        try:
            await self._each(request, keep)
            yield b"".join(chunks)
        finally:
            self.held -= sum(map(len, chunks))

    async def forget(self, request: Request) -> None:
        """Lets the body come and keeps nothing: so the client reads what it is told."""
        await self._each(request, lambda chunk: None)

    async def _each(self, request: Request, keep: Callable[[bytes], None]) -> None:
        """Hands on the body as it comes; raises Problem where it breaks a limit."""
        most, seconds = self._limits.request_bytes, self._limits.seconds
        large = f"the body is larger than {most} bytes (--max_request_bytes)"
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > most:
            raise Problem(413, large)
        size = 0
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > most:
                        raise Problem(413, large)
                    keep(chunk)
        except TimeoutError:
            rule = f"the body took longer than {seconds:g} seconds (--timeout)"
            raise Problem(408, rule, headers=CLOSE) from None

"""A request in line, and what is known of its answer; it belongs to the event loop.

Only the text as it is now is kept, so a client that reads slowly holds up nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator

from mmjax import answering
from mmjax.answering import Answer, Request
from mmjax.serve.problems import Problem


class Ticket:
    """What the line tells of a request, and its client reads."""

    def __init__(self, request: Request, positions: int):
        self.request = request
        self.positions = positions  # of the prompt
        self.answer = Answer()  # so far
        self.text = ""  # so far: what tokens to come leave as it is
        self.left = False  # by its client
        self.since = time.monotonic()
        self._problem: Problem | None = None
        self._begun, self._changed = asyncio.Event(), asyncio.Event()

    @property
    def over(self) -> bool:
        return bool(self.answer.ended or self._problem)

    def tell(self, answer: Answer) -> None:
        """More of the answer; what comes after its end is left aside."""
        if not self.over:
            self.answer = answer
            self.text = answering.settled(answer, self.request.stop)
            self._wake()

    def fail(self, problem: Problem) -> None:
        """Ends the request without an answer."""
        if not self.over:
            self._problem = problem
            self._wake()

    def _wake(self) -> None:
        self._begun.set()
        self._changed.set()

    async def begun(self) -> None:
        """Waits for the first words; raises the Problem that came in their place."""
        await self._begun.wait()
        if self._problem:
            raise self._problem

    async def texts(self) -> AsyncIterator[str]:
        """What is new of the text, to its end; raises the Problem that ended it."""
        told = 0
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._problem:
                raise self._problem
            over, new = self.over, self.text[told:]
            told += len(new)
            if new:
                yield new
            if over:
                return

    async def whole(self) -> None:
        """Waits for the end of the answer; raises the Problem that ended it."""
        async for _ in self.texts():
            pass

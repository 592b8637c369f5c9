"""The requests that wait in line, and the one thread that owns the model.

Requests are answered in batches of what waits when the model is free: the oldest one
and those whose prompts are laid out as long as its own. All is done in the event loop
but the model's work; what it says comes back a few tokens at a time.
"""

import asyncio
import collections
import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mmjax import answering
from mmjax.answering import Answer, Answerer, Request
from mmjax.generation import layout
from mmjax.serve import problems
from mmjax.serve.counts import Counts
from mmjax.serve.limits import Limits
from mmjax.serve.problems import Problem
from mmjax.serve.ticket import Ticket

log = logging.getLogger(__name__)


class LeftError(Exception):
    """Nobody waits for a batch any more."""


class Line:
    """The line, from `start` until `close`; made and used in the event loop."""

    def __init__(self, answerer: Answerer, limits: Limits, counts: Counts):
        self._answerer, self._limits, self._counts = answerer, limits, counts
        self._waiting: collections.deque[Ticket] = collections.deque()
        self._work = asyncio.Event()
        self._model = ThreadPoolExecutor(1, "model")
        self._task: asyncio.Task[None] | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def check(self) -> None:
        """Raises Problem where no request can join."""
        if self.closed:
            raise problems.ending()
        if len(self) >= self._limits.queue:
            seconds = str(self._seconds_to_wait())
            message = f"{len(self)} requests wait already (--queue): ask again later"
            headers = {"Retry-After": seconds}
            raise Problem(429, message, code="queue_full", headers=headers)

    def join(self, request: Request, positions: int) -> Ticket:
        """Puts a request, which was checked, at the end of the line; see `check`."""
        self.check()
        ticket = Ticket(request, positions)
        self._waiting.append(ticket)
        self._work.set()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Its client is gone: it isn't answered, or nobody is told the answer."""
        ticket.left = True
        if ticket in self._waiting:
            self._waiting.remove(ticket)

    def start(self) -> None:
        self._task = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """Refuses what waits and what comes, and returns when the model is at rest."""
        self.closed = True
        while self._waiting:
            self._waiting.popleft().fail(problems.ending())
        self._work.set()
        if self._task:
            await self._task
        self._model.shutdown()

    async def _serve(self) -> None:
        """Answers batch after batch, until the line is closed."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                tickets = self._next()
                begun = time.monotonic()
                self._counts.waited_seconds += sum(begun - t.since for t in tickets)
                await self._answer(tickets)
                self._counts.batch(len(tickets), time.monotonic() - begun)
            if self.closed:
                return

    def _next(self) -> list[Ticket]:
        """The next batch, taken out of the line: prompts of one length, laid out."""
        kind = self._length(self._waiting[0])
        alike = [ticket for ticket in self._waiting if self._length(ticket) == kind]
        taken = alike[: self._limits.batch]
        for ticket in taken:
            self._waiting.remove(ticket)
        return taken

    def _length(self, ticket: Ticket) -> int:
        row_tokens = self._answerer.config.data.row_tokens
        return layout.bucket(ticket.positions, layout.LEAST, row_tokens)

    async def _answer(self, tickets: Sequence[Ticket]) -> None:
        """Answers a batch; where that fails, each alone, so that one harms none."""
        loop = asyncio.get_running_loop()

        def tell(answers: Sequence[Answer]) -> None:
            for ticket, answer in zip(tickets, answers):
                if answer.ended and not (ticket.over or ticket.left):
                    self._counts.answer(ticket.positions, answer.tokens)
                ticket.tell(answer)

        def watch(answers: Sequence[Answer]) -> None:
            if all(ticket.left or ticket.over for ticket in tickets):
                raise LeftError
            loop.call_soon_threadsafe(tell, answers)

        requests = [ticket.request for ticket in tickets]
        work = (answering.answer, self._answerer, requests, watch)
        try:
            tell(await loop.run_in_executor(self._model, *work))
        except LeftError:
            return
        except Exception:
            if len(tickets) > 1:
                for ticket in tickets:
                    if not (ticket.left or ticket.over):
                        await self._answer([ticket])
                return
            log.exception("a request could not be answered")
            problem = Problem(500, "the model failed at this request", code="model")
            tickets[0].fail(problem)

    def _seconds_to_wait(self) -> int:
        """About how long it takes until the line is shorter by a batch."""
        counts = self._counts
        return math.ceil(counts.batch_seconds / counts.batches) if counts.batches else 1

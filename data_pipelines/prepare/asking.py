"""Many questions to one endpoint: in threads, at a pace, each tried a few times.

An answer goes to the journal at once; what has none in the end is counted, by reason.
"""

import collections
import concurrent.futures
import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

from data_pipelines import bars
from data_pipelines.prepare import chat
from data_pipelines.prepare.answers import Journal
from data_pipelines.prepare.chat import Endpoint, Failure, Later
from data_pipelines.prepare.pace import Pace

GIVE_UP = 20  # questions in a row without an answer: the endpoint is out of order


class Question(NamedTuple):
    """What to ask about an image."""

    key: bytes  # of its answer in the journal
    image: bytes
    prompt: str


class Manner(NamedTuple):
    """How to ask."""

    concurrency: int = 8  # questions at a time
    per_minute: float = 600.0  # questions
    tries: int = 6  # of one question
    backoff: float = 1.0  # seconds before the second try, doubled for each further one


class Tally:
    """Failures by reason, each with the details of one of them."""

    def __init__(self) -> None:
        self.reasons: collections.Counter[str] = collections.Counter()
        self._details: dict[str, str] = {}
        self._in_a_row = 0

    def count(self, done: concurrent.futures.Future[None]) -> None:
        """Counts a question; ValueError where there is no end of failures."""
        try:
            done.result()
            self._in_a_row = 0
        except Failure as failure:
            self.reasons[failure.reason] += 1
            self._details.setdefault(failure.reason, failure.detail)
            self._in_a_row += 1
            if self._in_a_row >= GIVE_UP:
                raise ValueError(
                    f"{GIVE_UP} questions in a row without an answer, the last one: "
                    f"{failure.reason} {failure.detail}".rstrip()
                ) from failure

    def lines(self) -> list[str]:
        """A line for each reason."""
        return [
            f"{count} x {reason}: {self._details[reason]}".rstrip(": ")
            for reason, count in sorted(self.reasons.items())
        ]


def ask_all(
    endpoint: Endpoint,
    questions: Iterable[Question],
    manner: Manner,
    journal: Journal,
    total: int,
    state: Callable[[Tally], str],
) -> Tally:
    """Asks what the journal doesn't answer, and shows a bar with `total` and `state`.

    Raises ValueError where the endpoint refuses everything. However it ends, what was
    open is answered and kept, and nothing new begins.
    """
    tally, pace = Tally(), Pace(manner.per_minute)
    ask = functools.partial(_ask, endpoint, manner, pace, journal)
    running: set[concurrent.futures.Future[None]] = set()
    with (
        concurrent.futures.ThreadPoolExecutor(manner.concurrency) as pool,
        bars.bar(total=total, desc="captions", unit="") as bar,
    ):
        try:
            for question in questions:
                if question.key in journal:
                    bar.update()
                    continue
                running.add(pool.submit(ask, question))
                if len(running) >= 2 * manner.concurrency:
                    running = _collect(running, tally, bar)
                    bar.set_postfix_str(state(tally))
            while running:
                running = _collect(running, tally, bar)
                bar.set_postfix_str(state(tally))
        except BaseException:
            pace.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return tally


def _collect(
    running: set[concurrent.futures.Future[None]], tally: Tally, bar: bars.Bar
) -> set[concurrent.futures.Future[None]]:
    """Waits for at least one question and counts it; those that are still open."""
    first = concurrent.futures.FIRST_COMPLETED
    done, still = concurrent.futures.wait(running, return_when=first)
    for future in done:
        tally.count(future)
        bar.update()
    return still


def _ask(
    endpoint: Endpoint, manner: Manner, pace: Pace, journal: Journal, question: Question
) -> None:
    """Asks until there is an answer for the journal; the last Failure if there is none.

    A server that says when it wants to be asked again is left alone by all until then.
    """
    for number in range(1, manner.tries + 1):
        pace.start()
        try:
            answer = chat.ask(endpoint, question.image, question.prompt)
            journal.add(question.key, answer)
            return
        except Later as later:
            if number == manner.tries:
                raise
            if later.wait is not None:
                pace.pause(later.wait)
            else:
                pace.sleep(manner.backoff * 2 ** (number - 1) * _spread(question.key))


def _spread(key: bytes) -> float:
    """0.5 to 1.5, by the key: what failed together isn't tried again together."""
    return 0.5 + key[0] / 255

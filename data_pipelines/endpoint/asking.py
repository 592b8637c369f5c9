"""Many questions to one endpoint: in threads, at a pace, each tried a few times.

An answer goes to the journal at once; what has none in the end is counted, by reason.
"""

import collections
import concurrent.futures
import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

from data_pipelines import bars
from data_pipelines.endpoint import chat
from data_pipelines.endpoint.answers import Journal
from data_pipelines.endpoint.chat import Endpoint, Failure, Later
from data_pipelines.endpoint.pace import Pace

GIVE_UP = 20  # questions in a row without an answer: the endpoint is out of order


class Question(NamedTuple):
    """What to ask, of an image if there is one."""

    key: bytes  # of its answer in the journal
    prompt: str
    image: bytes | None = None


class Manner(NamedTuple):
    """How to ask."""

    concurrency: int = 8  # questions at a time
    per_minute: float = 600.0  # questions
    tries: int = 6  # of one question
    backoff: float = 1.0  # seconds before the second try, doubled for each further one


class Tally:
    """Failures by reason, each with the details of one of them, and by question."""

    def __init__(self) -> None:
        self.reasons: collections.Counter[str] = collections.Counter()
        self.failed: dict[bytes, str] = {}  # reasons by the keys of questions
        self._details: dict[str, str] = {}
        self._in_a_row = 0

    def count(self, key: bytes, done: concurrent.futures.Future[None]) -> None:
        """Counts a question; ValueError where there is no end of failures."""
        try:
            done.result()
            self._in_a_row = 0
        except Failure as failure:
            self.reasons[failure.reason] += 1
            self.failed[key] = failure.reason
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


class Bar(NamedTuple):
    """The bar that shows how far it is."""

    what: str  # is counted
    total: int
    state: Callable[[Tally], str]  # stands behind it


def _any(text: str) -> None:
    del text


def ask_all(
    endpoint: Endpoint,
    questions: Iterable[Question],
    manner: Manner,
    journal: Journal,
    bar: Bar,
    check: Callable[[str], None] = _any,
) -> Tally:
    """Asks what the journal doesn't answer, and shows a bar.

    `check` raises Failure for the text of an answer that is of no use: it is in the
    journal, and counts as a failure. Raises ValueError where the endpoint refuses
    everything. However it ends, what was open is answered and kept, and nothing new
    begins.
    """
    tally, pace = Tally(), Pace(manner.per_minute)
    ask = functools.partial(_ask, endpoint, manner, pace, journal, check)
    running: dict[concurrent.futures.Future[None], bytes] = {}
    with (
        concurrent.futures.ThreadPoolExecutor(manner.concurrency) as pool,
        bars.bar(total=bar.total, desc=bar.what, unit="") as drawn,
    ):
        try:
            for question in questions:
                if question.key in journal:
                    drawn.update()
                    continue
                running[pool.submit(ask, question)] = question.key
                if len(running) >= 2 * manner.concurrency:
                    _collect(running, tally, drawn)
                    drawn.set_postfix_str(bar.state(tally))
            while running:
                _collect(running, tally, drawn)
                drawn.set_postfix_str(bar.state(tally))
        except BaseException:
            pace.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return tally


def _collect(
    running: dict[concurrent.futures.Future[None], bytes], tally: Tally, bar: bars.Bar
) -> None:
    """Waits for at least one question, counts it and takes it out."""
    first = concurrent.futures.FIRST_COMPLETED
    done, _ = concurrent.futures.wait(running, return_when=first)
    for future in done:
        tally.count(running.pop(future), future)
        bar.update()


def _ask(
    endpoint: Endpoint,
    manner: Manner,
    pace: Pace,
    journal: Journal,
    check: Callable[[str], None],
    question: Question,
) -> None:
    """Asks until the journal has an answer; the last Failure if there is none."""
    answer = _tried(endpoint, manner, pace, question)
    journal.add(question.key, answer)
    check(answer.text)


def _tried(
    endpoint: Endpoint, manner: Manner, pace: Pace, question: Question
) -> chat.Answer:
    """The first answer of a few tries.

    A server that says when it wants to be asked again is left alone by all until then.
    """
    number = 0
    while True:
        number += 1
        pace.start()
        try:
            return chat.ask(endpoint, question.prompt, question.image)
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

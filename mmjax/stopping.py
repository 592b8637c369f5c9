"""Ending a run early but cleanly: by a signal or after a time, at the same step."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from mmjax import processes

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Asked after every step whether the run should end there, and why."""

    def __init__(self, max_hours: float, every: int):
        """`max_hours` from now, 0: no limit; several processes agree every n steps."""
        self._deadline = time.monotonic() + 3600 * max_hours if max_hours else None
        self._max_hours = max_hours
        self._every = every
        self._signal = ""
        self._poll = processes.Poll()

    def reason(self, step: int) -> str:
        """Why to stop after this step; "" to go on. The same on all processes.

        Several stop at multiples of `every` steps, for reasons of the step before.
        """
        reason = self._signal
        if not reason and self._deadline and time.monotonic() >= self._deadline:
            reason = f"max_hours={self._max_hours:g} are over"
        if jax.process_count() == 1:
            return reason
        wished = self._poll.answer()
        if (step + 1) % self._every == 0:
            self._poll.ask(bool(reason))
        return (reason or "another process stops") if wished else ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, SIGTERM and SIGINT ask for a stop; the second one acts at once."""
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def note(number: int, _frame: object) -> None:
            self._signal = signal.Signals(number).name
            sys.stderr.write(f"\nmmjax: {self._signal}: ending after this step\n")
            for each in SIGNALS:
                signal.signal(each, before[each])

        for number in SIGNALS:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number in SIGNALS:
                signal.signal(number, before[number])

"""The pace of requests: a token bucket that many threads share, and pauses for all."""

import threading
import time
from collections.abc import Callable


class Stopped(Exception):  # noqa: N818
    """The run ends; whoever waits goes home."""


class Pace:
    """At most so many starts a minute, evenly spaced: a bucket that holds one token."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ):
        self._interval = 60.0 / per_minute
        self._clock = clock
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._lock = threading.Lock()
        self._next = self._resume = clock()

    def start(self) -> None:
        """Returns when a request may start; raises Stopped after `stop`."""
        with self._lock:
            mine = max(self._next, self._resume, self._clock())
            self._next = mine + self._interval
        while True:
            self._sleep_until(mine)
            with self._lock:
                if self._resume <= self._clock():
                    return
                # A pause began meanwhile: queue again behind it.
                mine = max(self._next, self._resume)
                self._next = mine + self._interval

    def pause(self, seconds: float) -> None:
        """Nobody starts for so long."""
        with self._lock:
            self._resume = max(self._resume, self._clock() + seconds)

    def sleep(self, seconds: float) -> None:
        """The caller alone waits; raises Stopped after `stop`."""
        self._sleep_until(self._clock() + seconds)

    def stop(self) -> None:
        """Wakes all who wait."""
        self._stopped.set()

    def _sleep_until(self, moment: float) -> None:
        while not self._stopped.is_set() and moment > (now := self._clock()):
            self._sleep(moment - now)
        if self._stopped.is_set():
            raise Stopped

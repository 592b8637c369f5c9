"""A deadline for opening: storage that doesn't answer becomes one clear error.

A dead mount or an object store without network blocks in the kernel or in C++, where
nothing can interrupt it. So the opening is done in a thread, which is left behind.
"""

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Value = TypeVar("Value")

_POLL = 0.05  # seconds


class _Openings:
    """The paths that are being opened, and since when."""

    def __init__(self):
        self._lock = threading.Lock()
        self._since: dict[object, tuple[float, str]] = {}

    def begin(self, key: object, path: object) -> None:
        with self._lock:
            self._since[key] = time.monotonic(), str(path)

    def end(self, key: object) -> None:
        with self._lock:
            del self._since[key]

    def oldest(self) -> tuple[float, str] | None:
        """Start and path of the opening that takes longest."""
        with self._lock:
            return min(self._since.values(), default=None)


_current: contextvars.ContextVar[_Openings | None] = contextvars.ContextVar(
    "openings", default=None
)


@contextlib.contextmanager
def opening(path: object) -> Iterator[None]:
    """Around the opening of one path; outside of `within`, nothing."""
    openings = _current.get()
    if openings is None:
        yield
        return
    key = object()
    openings.begin(key, path)
    try:
        yield
    finally:
        openings.end(key)


def within(seconds: float, function: Callable[[], Value]) -> Value:
    """The function's value, each `opening` in it given so many seconds.

    What it raises is raised here. Raises ValueError naming the path that takes longer.
    """
    openings, result = _Openings(), _Result()
    context = contextvars.copy_context()
    context.run(_current.set, openings)
    work = threading.Thread(
        target=context.run, args=(result.fill, function), daemon=True, name="opening"
    )
    work.start()
    while not result.done.wait(min(_POLL, seconds)):
        oldest = openings.oldest()
        if oldest and time.monotonic() - oldest[0] > seconds:
            raise ValueError(
                f"{oldest[1]}: not opened after {seconds:g} seconds "
                "(data.open_timeout); is the storage there?"
            )
    return result.value()


class _Result:
    """What a function in another thread returns or raises."""

    def __init__(self):
        self.done = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None

    def fill(self, function: Callable[[], Any]) -> None:
        try:
            self._value = function()
        except BaseException as error:
            self._error = error
        self.done.set()

    def value(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value

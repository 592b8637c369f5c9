"""Small memories that threads share: last results of a function, and chains."""

import bisect
import collections
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """Remembers the last results of a function of one integer.

    A result is computed once, under a lock; a pickled memo forgets its results.
    """

    def __init__(self, function: Callable[[int], Value], size: int):
        self._function = function
        self._size = size
        self._forget()

    def __call__(self, key: int) -> Value:
        with self._lock:
            if key not in self._values:
                self._values[key] = self._function(key)
                if len(self._values) > self._size:
                    self._values.popitem(last=False)
            self._values.move_to_end(key)
            return self._values[key]

    def __getstate__(self) -> tuple[Callable[[int], Value], int]:
        return self._function, self._size

    def __setstate__(self, state: tuple[Callable[[int], Value], int]) -> None:
        self._function, self._size = state
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.RLock()
        self._values: collections.OrderedDict[int, Value] = collections.OrderedDict()


class Chain(Generic[Value]):
    """Values that follow from each other, the first ones given, extended as asked."""

    def __init__(self, first: Sequence[Value], after: Callable[[Value], Value]):
        self.__setstate__((list(first), after))

    def __getitem__(self, number: int) -> Value:
        """The value after so many steps."""
        with self._lock:
            while len(self._values) <= number:
                self._values.append(self._after(self._values[-1]))
            return self._values[number]

    def last(self, limit: int, key: Callable[[Value], int]) -> Value:
        """The last value whose key, which ascends, doesn't exceed the limit."""
        with self._lock:
            while key(self._values[-1]) <= limit:
                self._values.append(self._after(self._values[-1]))
            return self._values[bisect.bisect_right(self._values, limit, key=key) - 1]

    def __getstate__(self) -> tuple[list[Value], Callable[[Value], Value]]:
        return self._values, self._after

    def __setstate__(self, state: tuple[list[Value], Callable[[Value], Value]]) -> None:
        self._values, self._after = state
        self._lock = threading.RLock()

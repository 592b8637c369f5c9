"""Small memories that threads share: last results of a function, and running sums."""

import bisect
import collections
import itertools
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
    """Values that follow from each other, the first one given, extended as asked."""

    def __init__(self, first: Value, after: Callable[[Value], Value]):
        self.__setstate__(([first], after))

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


class RunningTotal:
    """Sums of a positive function over 0, 1, 2, ..., extended as far as asked.

    `known` are its first values.
    """

    def __init__(self, function: Callable[[int], int], known: Sequence[int] = ()):
        self.__setstate__((function, [0, *itertools.accumulate(known)]))

    def before(self, key: int) -> int:
        """The sum over all smaller keys."""
        with self._lock:
            while len(self._sums) <= key:
                self._extend()
            return self._sums[key]

    def find(self, amount: int) -> tuple[int, int]:
        """The key within whose value this amount lies, and the sum before that key."""
        with self._lock:
            while self._sums[-1] <= amount:
                self._extend()
            key = bisect.bisect_right(self._sums, amount) - 1
            return key, self._sums[key]

    def _extend(self) -> None:
        self._sums.append(self._sums[-1] + self._function(len(self._sums) - 1))

    def __getstate__(self) -> tuple[Callable[[int], int], list[int]]:
        return self._function, self._sums

    def __setstate__(self, state: tuple[Callable[[int], int], list[int]]) -> None:
        self._function, self._sums = state
        self._lock = threading.RLock()

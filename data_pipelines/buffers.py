"""Memory that is used again: what the kernel clears a page of costs as much as a copy.

An array of pixels for every batch, each fresh from the kernel, makes decoding about a
sixth slower, and several times where memory is fragmented.
"""

import math
import mmap
import threading
import weakref

import numpy as np


class Recycler:
    """Gives out uint8 arrays; the memory of those that died comes first.

    An array lives as long as it, a view of it or anything that shares its memory (as a
    `jax.Array` may) is referred to.
    """

    def __init__(self):
        self._free: dict[int, list[mmap.mmap]] = {}
        self._lock = threading.RLock()  # a finalizer may run while it is held

    def __reduce__(self):
        return Recycler, ()  # a copy in another process starts with nothing

    def empty(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of this shape with anything in it."""
        size = max(1, math.prod(shape))
        with self._lock:
            free = self._free.setdefault(size, [])
            memory = free.pop() if free else _allocate(size)
        # The base of views of an array whose own base is no array is that array, so
        # it dies last.
        array = np.ndarray(shape, np.uint8, buffer=memory)
        weakref.finalize(array, self._take_back, size, memory).atexit = False
        return array

    def _take_back(self, size: int, memory: mmap.mmap) -> None:
        with self._lock:
            self._free[size].append(memory)


def _allocate(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory

"""Batches that lie on the devices before the step asks for them."""

import queue
import threading
import time
from collections.abc import Callable, Iterator

from mmjax.batch import Batch


class Feed:
    """Reads host batches and places them on the devices, in a thread of its own.

    Up to `depth` placed batches wait, and one more that finds no room: two, while a
    step reads a third. An error of the source or of `place` is raised by `take`, as it
    was.
    """

    def __init__(
        self,
        batches: Iterator[Batch],
        place: Callable[[Batch], Batch],
        depth: int = 1,
    ):
        self._batches, self._place = batches, place
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="feed", daemon=True)
        self._thread.start()

    def take(self, idle: Callable[[], bool]) -> tuple[Batch, float]:
        """The next batch, and for how many seconds the devices had nothing to do.

        `idle` says whether they have finished what was given to them: time in which
        they still compute is not lost. StopIteration after the last batch.
        """
        waited = 0.0
        while True:
            start, lost = time.perf_counter(), idle()
            try:
                item = self._ready.get(timeout=0.002)
            except queue.Empty:
                waited += (time.perf_counter() - start) if lost else 0.0
                continue
            if isinstance(item, BaseException):
                raise item
            waited += (time.perf_counter() - start) if lost else 0.0
            return item, waited

    def close(self) -> None:
        """Ends the thread; batches not taken are lost."""
        self._closed.set()
        self._thread.join()

    def _fill(self) -> None:
        try:
            for batch in self._batches:
                if not self._put(self._place(batch)):
                    break
            else:
                self._put(StopIteration())
        except BaseException as error:
            self._put(error)
        finally:
            close = getattr(self._batches, "close", None)
            if close is not None:
                close()

    def _put(self, item: Batch | BaseException) -> bool:
        """Hands an item over as soon as there is room; False once closed."""
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.05)
            except queue.Full:
                continue
            return True
        return False

"""A progress bar of what stages have written, wherever their workers run.

On a terminal it moves; elsewhere there is a line when a stage starts and when it ends.
"""

import contextlib
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from data_pipelines import bars

_EVERY = 0.5  # seconds
_REST = 20  # times as long as looking took: folders may be large, and far away


@contextlib.contextmanager
def of_files(
    folder: pathlib.Path,
    ending: str,
    total: int,
    title: str,
    growing: Sequence[pathlib.Path],
    say: Callable[[str], None],
) -> Iterator[None]:
    """Within it, a bar shows how many files of the folder have this ending, of `total`.

    The bytes in all `growing` folders tell that few large files get on.
    """
    done, shown = threading.Event(), sys.stderr.isatty()
    with bars.bar(total=total, desc=title, unit=" parts", disable=not shown) as bar:

        def look() -> tuple[int, str]:
            count = min(total, counted(folder, ending))
            return count, f"{sum(map(size, growing)) / 2**20:,.1f} MiB"

        def show() -> None:
            bar.n, written = look()
            bar.set_postfix_str(written)  # and refreshes

        def watch() -> None:
            pause = _EVERY
            while not done.wait(pause):
                start = time.monotonic()
                show()
                pause = max(_EVERY, _REST * (time.monotonic() - start))

        thread = threading.Thread(target=watch, daemon=True)
        if shown:
            thread.start()
        else:
            say(f"{title}: {look()[0]} of {total} parts are done")
        try:
            yield
        finally:
            done.set()
            if shown:
                thread.join()
                show()
            else:
                count, written = look()
                say(f"{title}: {count} of {total} parts, {written}")


def counted(folder: pathlib.Path, ending: str) -> int:
    """How many files of the folder have this ending."""
    with os.scandir(folder) as entries:
        return sum(entry.name.endswith(ending) for entry in entries)


def size(folder: pathlib.Path) -> int:
    """Bytes of the folder's files, unfinished ones too; of a folder to come, none."""
    found = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
                found += entry.stat().st_size
    return found

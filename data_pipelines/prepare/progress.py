"""A progress bar of what stages have written, wherever their workers run."""

import contextlib
import pathlib
import threading
from collections.abc import Iterator

import tqdm

_EVERY = 0.5  # seconds


@contextlib.contextmanager
def of_files(
    folder: pathlib.Path, pattern: str, total: int, title: str, unit: str
) -> Iterator[None]:
    """Within it, a bar shows how many files of this pattern are in the folder."""
    done = threading.Event()
    with tqdm.tqdm(total=total, desc=title, unit=f" {unit}", delay=1) as bar:

        def show() -> None:
            bar.n = min(total, sum(1 for _ in folder.glob(pattern)))
            bar.refresh()

        def watch() -> None:
            while not done.wait(_EVERY):
                show()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            show()

"""The checkpoints that are evaluated: the newest, or each new one of a running run."""

import pathlib
import time
from collections.abc import Callable, Iterator

from mmjax import checkpoint


def checkpoints(
    place: str,
    follow: bool,
    poll: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """Folders of complete checkpoints; without `follow`, of the newest alone.

    `place` is a run, a folder of checkpoints or one checkpoint. With `follow` all that
    are there come, oldest first, then new ones, looked for every `poll` seconds, until
    the last step of the run's config. ValueError where there is nothing to wait for.
    """
    folder = pathlib.Path(place)
    if (folder / "params").is_dir():
        yield str(folder.absolute())
        return
    if not folder.is_dir():
        raise ValueError(f"{place}: no such folder of checkpoints")
    if not follow:
        newest = _complete(folder)[-1:]
        if not newest:
            raise ValueError(f"{place}: holds no complete checkpoint")
        yield str(newest[0])
        return
    done: set[str] = set()
    while True:
        fresh = [path for path in _complete(folder) if path.name not in done]
        for path in fresh:
            done.add(path.name)
            if path.is_dir():  # else the run has removed it meanwhile
                yield str(path)
            if _last(path):
                return
        if not fresh:
            sleep(poll)


def _complete(folder: pathlib.Path) -> list[pathlib.Path]:
    """Checkpoints by step; one that is being written has another name yet."""
    inner = checkpoint.folder_of(folder)
    folder = (inner if inner.is_dir() else folder).absolute()
    found = [
        p for p in folder.iterdir() if p.name.isdigit() and (p / "params").is_dir()
    ]
    return sorted(found, key=lambda path: int(path.name))


def _last(path: pathlib.Path) -> bool:
    """Whether a checkpoint is the last one that its run makes."""
    try:
        held = checkpoint.look(str(path)).meta
    except ValueError:
        return False  # removed by the run
    return int(path.name) >= held.get("config", {}).get("steps", 0)

"""The folder of an unfinished preparation: the same command goes on in it.

OUTPUT.unfinished/parts/...              what is done, so that it is done once
OUTPUT.unfinished/result/...             what becomes OUTPUT, by one renaming
OUTPUT.unfinished/{preparation,units}.json   of what it is a preparation
"""

import contextlib
import fcntl
import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

_STATE = "preparation.json"
_LOCK = ".lock"


class Workspace(NamedTuple):
    """Folders of a preparation that isn't finished; both exist."""

    parts: pathlib.Path
    result: pathlib.Path


@contextlib.contextmanager
def unfinished(output: pathlib.Path, facts: dict[str, Any]) -> Iterator[Workspace]:
    """A folder beside `output`, whose result takes its name if nothing goes wrong.

    What a killed preparation of equal facts left there is kept, and so is what this one
    has written when it ends early. Raises ValueError where `output` exists, can't be
    written, or where another preparation is at work or left something.
    """
    home = output.with_name(f"{output.name}.unfinished")
    _require_free(output, home)
    if home.exists() and not (home / _STATE).exists() and not _is_fresh(home):
        raise ValueError(f"{home}: in the way, and not ours; move it")
    space = Workspace(home / "parts", home / "result")
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / _LOCK).open("w")
    except OSError as error:
        raise ValueError(
            f"--output={output}: can't be written ({error.strerror})"
        ) from error
    with lock:
        _require_alone(lock, home)
        _require_free(output, home)  # another preparation may just have finished
        require_same(home / _STATE, facts)
        space.parts.mkdir(exist_ok=True)
        space.result.mkdir(exist_ok=True)
        try:
            yield space
        except BaseException:
            if not any(space.parts.iterdir()):
                shutil.rmtree(home, ignore_errors=True)
            raise
        space.result.replace(output)
        shutil.rmtree(home, ignore_errors=True)


def require_same(path: pathlib.Path, facts: dict[str, Any]) -> None:
    """Notes what is prepared, or raises ValueError where it isn't what was begun."""
    wanted = json.loads(json.dumps(facts))
    if not path.exists():
        write(path, json.dumps(wanted, indent=1).encode())
        return
    home = path.parent
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: damaged; remove {home} to begin again") from error
    if found != wanted:
        known = found if isinstance(found, dict) else {}
        changed = [name for name in wanted if known.get(name) != wanted[name]]
        raise ValueError(
            f"{home}: an unfinished preparation with other {' and '.join(changed)}; "
            "repeat its command to finish it, or remove the folder to begin again"
        )


def write(path: pathlib.Path, data: bytes) -> None:
    """Writes a file that is there whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def _require_free(output: pathlib.Path, home: pathlib.Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        done = (home / _STATE).exists() and not (home / "result").exists()
        if done:  # killed behind the renaming
            shutil.rmtree(home, ignore_errors=True)
        raise ValueError(f"--output={output}: exists already; name a new folder")


def _is_fresh(home: pathlib.Path) -> bool:
    """Whether nothing but our lock is there: killed before it could note anything."""
    known = {_LOCK, f"{_STATE}.part"}
    return home.is_dir() and {path.name for path in home.iterdir()} <= known


def _require_alone(lock: Any, home: pathlib.Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ValueError(f"{home}: another preparation is writing it") from error

"""The folder of an unfinished preparation: the same command goes on in it."""

import contextlib
import fcntl
import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

PARTS = "parts"
_STATE = "preparation.json"
_LOCK = ".lock"
_WORK = (PARTS, _STATE, _LOCK)


@contextlib.contextmanager
def unfinished(output: pathlib.Path, facts: dict[str, Any]) -> Iterator[pathlib.Path]:
    """A folder beside `output` that takes its name if nothing goes wrong.

    What a killed preparation of equal facts left there is kept, and so is what this one
    has written when it ends early. Raises ValueError where `output` exists, can't be
    written, or where another preparation is at work or left something.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"--output={output}: exists already; name a new folder")
    folder = output.with_name(f"{output.name}.unfinished")
    if folder.exists() and not (folder / _STATE).exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: in the way, and not ours; move it")
    try:
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("w")
    except OSError as error:
        raise ValueError(
            f"--output={output}: can't be written ({error.strerror})"
        ) from error
    with lock:
        _require_alone(lock, folder)
        _require_same(folder, facts)
        try:
            yield folder
        except BaseException:
            if not any((folder / PARTS).iterdir()):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        for name in _WORK:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        folder.replace(output)


def _require_alone(lock: Any, folder: pathlib.Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ValueError(f"{folder}: another preparation is writing it") from error


def _require_same(folder: pathlib.Path, facts: dict[str, Any]) -> None:
    """Notes what is prepared, or checks that it is what was begun."""
    path = folder / _STATE
    wanted = json.loads(json.dumps(facts))
    if not path.exists():
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(wanted, indent=1))
        part.replace(path)
        return
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: damaged; remove {folder} to begin again") from error
    if found != wanted:
        changed = [
            k
            for k in wanted
            if not isinstance(found, dict) or found.get(k) != wanted[k]
        ]
        raise ValueError(
            f"{folder}: an unfinished preparation with other {' and '.join(changed)}; "
            "repeat its command to finish it, or remove the folder to begin again"
        )

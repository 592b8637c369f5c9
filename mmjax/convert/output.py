"""Folders that are there whole or not at all."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator


def require_free(path: pathlib.Path) -> None:
    """Raises ValueError where something has this name already."""
    if path.exists():
        raise ValueError(f"--out={path}: is there already; name a folder that isn't")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--out={path}: there is no folder {path.parent}")


@contextlib.contextmanager
def made(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to write into, which gets the name `path` when all went well."""
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # of a conversion that was killed
    part.mkdir()
    try:
        yield part
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)

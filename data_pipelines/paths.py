"""Paths of corpora: on this machine, or in an object store.

Local paths are pathlib's. gs:// and s3:// are read through etils.epath, which needs
gcsfs or s3fs. Shards are opened by array_record itself, which knows gs:// only.
"""

import importlib.util
import io
import os
import pathlib
from typing import IO, Any, cast

PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}  # what etils.epath needs
SHARDS = ("gs",)  # the stores that array_record opens


def scheme(path: str | os.PathLike[str]) -> str:
    """The scheme of a path such as gs://bucket/folder; empty for a local one."""
    head, mark, _ = os.fspath(path).partition("://")
    return head if mark else ""


def of(path: str | os.PathLike[str]) -> pathlib.Path:
    """A pathlib.Path, or what etils has of the same methods for an object store.

    Raises ValueError for another store, and where a package is missing.
    """
    store = scheme(path)
    if not store:
        return pathlib.Path(path)
    if store not in PACKAGES:
        known = ", ".join(f"{name}://" for name in PACKAGES)
        raise ValueError(f"{path}: only local paths, {known} can be read")
    package = PACKAGES[store]
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"{path}: needs {package}, `pip install {package}`")
    from etils import epath

    return cast(pathlib.Path, epath.Path(path))


def size(path: pathlib.Path) -> int:
    """Bytes of a file; OSError where there is none."""
    found: Any = path.stat()
    return found.length if scheme(path) else found.st_size


def open_binary(path: pathlib.Path) -> IO[bytes]:
    """A file to be read in any order; one of an object store is fetched at once."""
    if scheme(path):
        return io.BytesIO(path.read_bytes())
    return path.open("rb")


def require_shards(folder: str | os.PathLike[str]) -> None:
    """Raises ValueError where array_record can't open shards in a folder."""
    store = scheme(folder)
    if store and store not in SHARDS:
        raise ValueError(
            f"{folder}: shards are read from local paths and gs:// only; mount the "
            "bucket, or copy the folder"
        )

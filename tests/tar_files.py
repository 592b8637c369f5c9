"""Tars of samples for tests."""

import io
import pathlib
import tarfile
from collections.abc import Iterable


def write(path: pathlib.Path, members: Iterable[tuple[str, bytes]]) -> pathlib.Path:
    """A tar of files, given as names and bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def room(data: bytes) -> int:
    """Bytes that a file of this content takes in a tar."""
    return 512 + -(-len(data) // 512) * 512

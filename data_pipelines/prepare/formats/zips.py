"""Zips of one file (MMC4's shards), read without unpacking them to disk.

What a zip says of itself is checked before a byte is unpacked. No name in it becomes a
path, but one that leads out of a folder is the mark of a zip that was made to do harm.
"""

import contextlib
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

SUFFIX = ".zip"
FAULTS = (EOFError, zlib.error, zipfile.BadZipFile)  # of reading a member
MAX_RATIO = 200  # unpacked by packed bytes: JSON of web pages has 3 to 10
_SMALL = 2**26  # bytes, of which no ratio is too large
_NOTES = ("__MACOSX/",)  # folders of what isn't content
_ENCRYPTED = 0x1


def check(path: str | pathlib.Path) -> None:
    """Raises ValueError, naming the rule, for a zip that mustn't or can't be read."""
    with _opened(path) as file:
        _only(path, file)


def open_only(path: str | pathlib.Path) -> BinaryIO:
    """The one file that the zip holds, as a stream of bytes; ValueError as `check`."""
    with _opened(path) as file:
        # The stream keeps the zip open, and gives no more than its header promises.
        return cast(BinaryIO, file.open(_only(path, file)))


@contextlib.contextmanager
def _opened(path: str | pathlib.Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except (*FAULTS, NotImplementedError) as error:
        raise ValueError(f"{path}: not a whole zip ({error})") from error


def _only(path: str | pathlib.Path, file: zipfile.ZipFile) -> zipfile.ZipInfo:
    for one in file.infolist():
        if _escapes(one.filename):
            rule = "its files must stay in their folder"
            raise ValueError(f"{path}: holds {one.filename!r}: {rule}")
    found = [
        one
        for one in file.infolist()
        if not one.is_dir() and not one.filename.startswith(_NOTES)
    ]
    if len(found) != 1:
        raise ValueError(f"{path}: holds {len(found)} files: must be one")
    (only,) = found
    if only.flag_bits & _ENCRYPTED:
        raise ValueError(f"{path}: {only.filename!r} is encrypted: unlock it first")
    packed = min(only.compress_size, pathlib.Path(path).stat().st_size)
    if only.file_size > max(_SMALL, MAX_RATIO * packed):
        rule = f"at most {MAX_RATIO} times its {packed} packed bytes"
        raise ValueError(f"{path}: unpacks to {only.file_size} bytes: must be {rule}")
    return only


def _escapes(name: str) -> bool:
    """Whether a name, on any system, leads out of the folder it is unpacked in."""
    path = pathlib.PureWindowsPath(name)  # which knows both kinds of slashes
    return bool(path.drive or path.root) or ".." in path.parts

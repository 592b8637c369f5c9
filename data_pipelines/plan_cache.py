"""Integer arrays on disk that are either whole and expected, or not there."""

import hashlib
import logging
import os
import pathlib
import tempfile
import zipfile

import numpy as np


def save(path: pathlib.Path, key: str, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays under a key, atomically; a folder that can't be written is logged.

    The file is an uncompressed npz with the key and a hash of the arrays beside them.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, key=key, hash=_hash(arrays), **arrays)  # pyright: ignore[reportArgumentType]
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        logging.getLogger(__name__).warning("plan not cached at %s: %s", path, error)


def load(path: pathlib.Path, key: str) -> dict[str, np.ndarray] | None:
    """The arrays saved under the key; None where absent, damaged or of another key."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if str(arrays.pop("key")) != key:
            raise ValueError("it belongs to another plan")
        if str(arrays.pop("hash")) != _hash(arrays):
            raise ValueError("its content doesn't match its hash")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logging.getLogger(__name__).warning("%s is made again: %s", path, error)
        return None
    return arrays


def _hash(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.data)
    return digest.hexdigest()

"""Columns of a large source as files: opened in a moment, shared by processes."""

import functools
import json
import os
import pathlib
import shutil
import tempfile

import numpy as np

from data_pipelines import index_columns, ragged, totals
from data_pipelines.index_columns import Documents, Summary

_FACTS = "columns.json"
_ARRAYS = (
    "segment_start",
    "segment_tokens",
    "segment_image",
    "segment_slots",
    "segment_loss",
    "kind",
    "synthetic",
    "totals",
)


def store(folder: pathlib.Path, documents: Documents, key: str = "") -> Documents:
    """Writes the columns and their totals as a new folder, and opens it.

    The folder appears when it is complete; one that appears meanwhile is as good.
    `key` says what the columns follow from. Raises OSError where it can't be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, suffix=".tmp"))
    try:
        documents = totals.complete(documents)
        for name in _ARRAYS:
            np.save(part / f"{name}.npy", getattr(documents, name))
        facts = {
            "key": key,
            "digest": documents.digest,
            "kinds": list(documents.kinds),
            "summary": documents.summary,
        }
        (part / _FACTS).write_text(json.dumps(facts))
        _move(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(part, ignore_errors=True)
    return load(folder, key)


@functools.lru_cache(maxsize=8)
def opened(folder: pathlib.Path) -> Documents:
    """`load`, once in a process: pages that are mapped again are found again."""
    return load(folder)


def load(folder: pathlib.Path, key: str = "") -> Documents:
    """The documents of a folder that `store` wrote, mapped from it.

    Raises ValueError where it isn't one, is damaged, or was written under another key
    than the one given.
    """
    try:
        facts = json.loads((folder / _FACTS).read_text())
        if key and facts["key"] != key:
            raise ValueError("it belongs to another source")
        arrays = {name: _map(folder / f"{name}.npy") for name in _ARRAYS}
        sums, *largest = facts["summary"]
        documents = Documents(
            **arrays,
            digest=facts["digest"],
            kinds=tuple(facts["kinds"]),
            summary=Summary(tuple(sums), *largest),
            folder=str(folder),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ValueError(f"{folder}: no columns of a source ({error})") from error
    count = len(documents.segment_start) - 1
    segments = int(documents.segment_start[-1]) if count >= 0 else -1
    lengths = {len(arrays[name]) for name in _ARRAYS[1:5]}
    if lengths != {segments} or {len(arrays[n]) for n in _ARRAYS[5:]} != {count}:
        raise ValueError(f"{folder}: columns of different lengths; remove the folder")
    return documents


def take(documents: Documents, numbers: np.ndarray) -> Documents:
    """Few documents of many, in this order; what lies in files is read, not mapped.

    A look at a mapped column maps megabytes of it, so that few looks here and there end
    with whole files in the memory of each process.
    """
    if not documents.folder or not os.path.isdir(documents.folder):
        return index_columns.take(documents, numbers)
    places = [(number, 2) for number in numbers.tolist()]
    bounds = _read(documents.segment_start, places).reshape(-1, 2)
    counts = np.diff(bounds, axis=1)[:, 0]
    segments = list(zip(bounds[:, 0].tolist(), counts.tolist()))
    names = ("segment_tokens", "segment_image", "segment_slots", "segment_loss")
    return documents._replace(
        segment_start=ragged.sums_before(counts),
        **{name: _read(getattr(documents, name), segments) for name in names},
        totals=None,
        summary=None,
        folder="",
    )


def _read(column: np.ndarray, places: list[tuple[int, int]]) -> np.ndarray:
    """Values of a mapped column, so many from each place on, from its file."""
    source, size = column.base, column.itemsize
    assert isinstance(source, np.memmap)
    assert source.filename is not None
    with open(source.filename, "rb", buffering=0) as file:
        number = file.fileno()
        parts = [
            os.pread(number, count * size, source.offset + first * size)
            for first, count in places
        ]
    return np.frombuffer(b"".join(parts), column.dtype)


def _move(part: pathlib.Path, folder: pathlib.Path) -> None:
    """Gives a complete folder its name, which another process may have taken."""
    try:
        os.replace(part, folder)
    except OSError:
        if not folder.is_dir():
            raise


def _map(path: pathlib.Path) -> np.ndarray:
    """The array of a file, mapped; no np.memmap, of which a slice takes longer."""
    return np.load(path, "r").view(np.ndarray)

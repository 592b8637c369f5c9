"""Safetensors files, mapped: tensors are views of the file, read where they are used.

https://github.com/huggingface/safetensors describes the format: the length of a header
(8 bytes, little-endian), the header in JSON, then the tensors' bytes without gaps. The
library copies what it reads; views of a mapping let a transposed shard of a tensor be
the only copy there is.
"""

import json
import math
import mmap
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

Tensors = dict[str, np.ndarray]  # by their names; read-only views of mapped files

_HEADER_LIMIT = 100_000_000  # bytes, as in the format's own reader
DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(jnp.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def read(path: pathlib.Path) -> Tensors:
    """The tensors of one file; nothing but the header is read yet.

    Raises ValueError where the file is not whole: truncated, with tensors that overlap,
    leave gaps or don't fit their shapes, or of a dtype that isn't known.
    """
    content = mapped(path)
    header, start = _header(path, content)
    tensors, ranges = {}, []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, shape, (begin, end) = _entry(path, name, entry)
        expected = math.prod(shape) * dtype.itemsize
        if end - begin != expected:
            raise ValueError(
                f"{path}: {name} has {end - begin} bytes, its shape {list(shape)} of "
                f"{entry['dtype']} needs {expected}"
            )
        ranges.append((begin, end, name))
        if start + end <= len(content):  # else refused below
            flat = np.frombuffer(content, dtype, math.prod(shape), start + begin)
            tensors[name] = flat.reshape(shape)
    _check_ranges(path, ranges, len(content) - start)
    return tensors


def mapped(path: pathlib.Path) -> mmap.mmap:
    """A whole file, mapped for reading; ValueError where it is empty."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError(f"{path}: is empty")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _header(path: pathlib.Path, content: mmap.mmap) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors' bytes begin."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > _HEADER_LIMIT:
        raise ValueError(f"{path}: not a safetensors file (it begins with no header)")
    if 8 + length > len(content):
        raise ValueError(
            f"{path}: its header of {length} bytes doesn't fit its {len(content)} "
            "bytes; is it truncated?"
        )
    try:
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_unique)
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: its header can't be read ({error})") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path}: its header is no JSON object")
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands in it twice")
    return found


def _entry(
    path: pathlib.Path, name: str, entry: Any
) -> tuple[np.dtype, tuple[int, ...], tuple[int, int]]:
    """dtype, shape and range of bytes that the header gives a tensor."""
    try:
        kind, shape, (begin, end) = (
            entry["dtype"],
            entry["shape"],
            entry["data_offsets"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: the header's entry of {name} is not a dtype, a shape and "
            f"data_offsets: {entry!r}"
        ) from error
    numbers = [*shape, begin, end] if isinstance(shape, list) else [None]
    if not all(type(n) is int and n >= 0 for n in numbers) or begin > end:
        raise ValueError(
            f"{path}: shape and data_offsets of {name} must be counts from 0 on, they "
            f"are {shape} and {[begin, end]}"
        )
    if kind not in DTYPES:
        raise ValueError(
            f"{path}: {name} is of dtype {kind}; read are {', '.join(DTYPES)}"
        )
    return DTYPES[kind], tuple(shape), (begin, end)


def _check_ranges(
    path: pathlib.Path, ranges: list[tuple[int, int, str]], room: int
) -> None:
    """Raises ValueError unless the tensors fill the file one after the other."""
    at, before = 0, "the header"
    for begin, end, name in sorted(ranges):
        if begin != at:
            raise ValueError(
                f"{path}: {name} begins at byte {begin} of the tensors, {before} ends "
                f"at {at}; they must follow each other without gap or overlap"
            )
        at, before = end, name
    if at != room:
        raise ValueError(
            f"{path}: holds {room} bytes of tensors, its header says {at}; is it "
            "truncated?"
        )

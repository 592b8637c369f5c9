"""Safetensors files, written one tensor after the other, sharded by size."""

import json
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.convert.tensor_reader import DTYPES

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Pending(NamedTuple):
    """A tensor to be written, made when its turn comes."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    make: Callable[[], np.ndarray]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def write(folder: pathlib.Path, tensors: Sequence[Pending], shard_bytes: int) -> None:
    """model.safetensors, or several files of at most `shard_bytes` and their index.

    A tensor larger than that is a file of its own.
    """
    files = _split(tensors, shard_bytes)
    if len(files) == 1:
        _write_file(folder / "model.safetensors", files[0])
        return
    places = {}
    for number, file in enumerate(files, 1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        _write_file(folder / name, file)
        places |= {tensor.name: name for tensor in file}
    total = sum(tensor.bytes for tensor in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps(index, indent=2, sort_keys=True) + "\n"
    )


def _split(tensors: Sequence[Pending], limit: int) -> list[list[Pending]]:
    files: list[list[Pending]] = [[]]
    room = limit
    for tensor in tensors:
        if files[-1] and tensor.bytes > room:
            files.append([])
            room = limit
        files[-1].append(tensor)
        room -= tensor.bytes
    return files


def _write_file(path: pathlib.Path, tensors: Sequence[Pending]) -> None:
    # The widest numbers first, so that every tensor is aligned.
    tensors = sorted(tensors, key=lambda t: -t.dtype.itemsize)
    header: dict = {"__metadata__": {"format": "pt"}}  # transformers wants to see it
    at = 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.bytes],
        }
        at += tensor.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            made = np.ascontiguousarray(tensor.make(), tensor.dtype)
            if made.shape != tensor.shape:
                raise AssertionError(f"{tensor.name}: {made.shape}, not {tensor.shape}")
            file.write(made.reshape(-1).view(np.uint8).data)

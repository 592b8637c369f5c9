"""Torch's .bin and .pt files, without torch and without running what they contain.

Such a file is a zip archive: a pickle that describes the tensors, and their bytes,
stored as they are. The pickle is read by an unpickler that knows nothing but tensors,
storages and dicts; a pickle that asks for anything else is refused, with its name.
"""

import collections
import mmap
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mmjax.convert.tensor_reader import Tensors, mapped

_STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
# Where training programs keep the weights among what else they save.
_WRAPPERS = ("state_dict", "model")


class _Kind(NamedTuple):
    """A storage class of torch, which says the dtype."""

    dtype: np.dtype


def read(path: pathlib.Path) -> Tensors:
    """The tensors of one file, mapped; only the pickle is read yet.

    Raises ValueError where it is no archive of torch.save, where its pickle asks for
    more than tensors, or where it is damaged.
    """
    content = mapped(path)
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path}: no zip archive: truncated, or saved by torch before 1.6 (load it "
            "there and save it again, as safetensors)"
        ) from error
    with archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1 or any("/code/" in name for name in names):
            what = "TorchScript archive" if pickles else "archive of torch.save"
            raise ValueError(
                f"{path}: {'a' if pickles else 'no'} {what}; only what torch.save "
                "wrote of a state_dict is read"
            )
        root = pickles[0].removesuffix("data.pkl")
        if _order(archive, root) != "little":
            raise ValueError(f"{path}: its numbers are big-endian")
        storages = {
            info.filename.removeprefix(f"{root}data/"): info
            for info in archive.infolist()
            if info.filename.startswith(f"{root}data/")
        }
        with archive.open(pickles[0]) as file:
            found = _load(path, file, storages, content)
    return _tensors(path, found)


def _order(archive: zipfile.ZipFile, root: str) -> str:
    try:
        return archive.read(f"{root}byteorder").decode()
    except KeyError:
        return "little"  # torch before 2.1 doesn't say


def _load(
    path: pathlib.Path, file: Any, storages: dict[str, Any], content: mmap.mmap
) -> Any:
    try:
        return _Unpickler(path, file, storages, content).load()
    except _RefusedError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # pickles raise whatever they like
        raise ValueError(
            f"{path}: its pickle can't be read ({type(error).__name__}: {error})"
        ) from error


class _RefusedError(Exception):
    """What a pickle asks for isn't allowed."""


class _Unpickler(pickle.Unpickler):
    """Tensors become views of the mapped file; no other class is known."""

    def __init__(
        self,
        path: pathlib.Path,
        file: Any,
        storages: dict[str, zipfile.ZipInfo],
        content: mmap.mmap,
    ):
        super().__init__(file)
        self._path, self._storages, self._content = path, storages, content

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _Kind(_STORAGES[name])
        if (module, name) not in _ALLOWED:
            raise _RefusedError(
                f"{self._path}: its pickle asks for {module}.{name}; only tensors and "
                "dicts of them are read"
            )
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> np.ndarray:
        """The numbers of one storage, flat."""
        _, kind, key, _, count = pid
        if key not in self._storages:
            raise _RefusedError(f"{self._path}: storage {key} is missing")
        info = self._storages[key]
        if info.compress_type != zipfile.ZIP_STORED:
            raise _RefusedError(f"{self._path}: storage {key} is compressed")
        if info.file_size < count * kind.dtype.itemsize:
            raise _RefusedError(
                f"{self._path}: storage {key} has {info.file_size} bytes, "
                f"{count} numbers of {kind.dtype} need {count * kind.dtype.itemsize}"
            )
        # The bytes follow the entry's own header, whose name and extra may be longer
        # than those of the archive's directory.
        at = info.header_offset
        name, extra = struct.unpack("<HH", self._content[at + 26 : at + 30])
        return np.frombuffer(self._content, kind.dtype, count, at + 30 + name + extra)


def _rebuild_tensor(
    storage: np.ndarray, offset: int, shape: tuple, stride: tuple, *rest: Any
) -> np.ndarray:
    """A view of a storage, as torch._utils._rebuild_tensor_v2 makes it."""
    del rest  # gradients and hooks
    last = offset + sum((n - 1) * s for n, s in zip(shape, stride))
    if 0 in shape:
        return np.zeros(shape, storage.dtype)
    if offset < 0 or min(stride, default=0) < 0 or last >= storage.size:
        raise ValueError(f"a tensor of shape {tuple(shape)} reaches beyond its storage")
    return np.lib.stride_tricks.as_strided(
        storage[offset:],
        shape,
        [step * storage.itemsize for step in stride],
        writeable=False,
    )


def _rebuild_parameter(data: np.ndarray, *rest: Any) -> np.ndarray:
    del rest
    return data


_ALLOWED: dict[tuple[str, str], Callable] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


def _tensors(path: pathlib.Path, found: Any) -> Tensors:
    """The state_dict in what was unpickled, without the prefix of data parallelism."""
    for wrapper in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{path}: holds no dict of tensors")
    other = [k for k, v in found.items() if not isinstance(v, np.ndarray)]
    if other:
        raise ValueError(f"{path}: {other[0]!r} is no tensor")
    return {str(name).removeprefix("module."): value for name, value in found.items()}

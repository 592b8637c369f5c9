"""A Hugging Face checkpoint on disk: its settings, and its tensors, mapped."""

import json
import pathlib
from typing import Any, NamedTuple

from mmjax.convert import pickled, tensor_reader
from mmjax.convert.tensor_reader import Tensors

# Files of weights, the first that is there counts; an index names several.
_FILES = (
    "model.safetensors.index.json",
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
_SETTINGS = "config.json"
READERS = {
    ".safetensors": tensor_reader.read,
    ".bin": pickled.read,
    ".pt": pickled.read,
    ".pth": pickled.read,
}


class Folder(NamedTuple):
    """What a folder holds."""

    path: pathlib.Path
    settings: dict[str, Any]  # config.json
    images: dict[str, Any]  # the image processor's; empty where there is none
    tensors: Tensors


def read(path: pathlib.Path) -> Folder:
    """Opens a folder, or a file of weights beside its config.json.

    Raises ValueError where settings or weights are missing or damaged.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such folder or file")
    weights = path if path.is_file() else _weights(path)
    folder = weights.parent
    prefix = "open_clip_" if weights.name.startswith("open_clip_") else ""
    settings = folder / f"{prefix}{_SETTINGS}"
    if not prefix and not settings.is_file():  # a .pt of open_clip's training
        settings = folder / f"open_clip_{_SETTINGS}"
    if not settings.is_file():
        raise ValueError(f"{folder}: holds no {prefix}{_SETTINGS}")
    return Folder(folder, read_json(settings), _images(folder), _tensors(weights))


def _images(folder: pathlib.Path) -> dict[str, Any]:
    """The image processor's settings; transformers 5 has them among the processor's."""
    own, shared = folder / "preprocessor_config.json", folder / "processor_config.json"
    if own.is_file():
        return read_json(own)
    found = read_json(shared).get("image_processor") if shared.is_file() else None
    return found if isinstance(found, dict) else {}


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The JSON object of a file; ValueError where it holds none."""
    try:
        found = json.loads(path.read_text())
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: no JSON object")
    return found


def _weights(folder: pathlib.Path) -> pathlib.Path:
    for name in _FILES:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"{folder}: holds no weights; looked for {', '.join(_FILES)}")


def _tensors(path: pathlib.Path) -> Tensors:
    if path.name.endswith(".index.json"):
        return _indexed(path)
    if path.suffix not in READERS:
        raise ValueError(f"{path}: weights are read from {', '.join(READERS)}")
    return READERS[path.suffix](path)


def _indexed(index: pathlib.Path) -> Tensors:
    """The tensors of all files that an index names."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{index}: has no weight_map")
    tensors: Tensors = {}
    for name in sorted(set(map(str, places.values()))):
        file = index.parent / name
        if pathlib.PurePath(name).name != name or name in (".", ".."):
            raise ValueError(f"{index}: {name!r} is not the name of a file beside it")
        if not file.is_file() or file.suffix not in READERS:
            raise ValueError(f"{index}: names {name}, which is missing")
        found = READERS[file.suffix](file)
        twice = tensors.keys() & found.keys()
        if twice:
            raise ValueError(f"{file}: {min(twice)} is in another file too")
        tensors |= found
    absent = [name for name in places if name not in tensors]
    if absent:
        raise ValueError(
            f"{index}: {len(absent)} tensors are in none of its files, first "
            f"{absent[0]}"
        )
    return tensors

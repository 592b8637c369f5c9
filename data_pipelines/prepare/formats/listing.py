"""Files that list datasets, in YAML or JSON: loaded, and checked."""

import json
import pathlib
from typing import Any

import yaml

SUFFIXES = (".yaml", ".yml")


def loaded(path: pathlib.Path) -> Any:
    """The values of a YAML or JSON file; ValueError where it is neither.

    Only plain values are made of YAML: no tag in it runs or builds anything.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{path}: can't be read: {told}") from error


def mapping(path: pathlib.Path, name: str, value: Any) -> dict[str, Any]:
    """The value, if it is a mapping; ValueError, naming what it should have been."""
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {name} is missing or no mapping")
    return value


def local(path: pathlib.Path, name: str, value: Any) -> pathlib.Path:
    """A path that a list names, from its own folder; ValueError where it is none."""
    if not isinstance(value, str) or not value or "://" in value:
        raise ValueError(f"{path}: {name} {value!r} must be a local path")
    return path.parent / value


def named(path: pathlib.Path, names: list[str], known: dict[str, Any]) -> list[str]:
    """The names, if there are some and all are known; ValueError otherwise."""
    few = ", ".join(sorted(map(str, known))[:8]) + ", ..." * (len(known) > 8)
    if not names:
        rule = f"lists datasets: name those to read, as in {path}#NAME,NAME"
        raise ValueError(f"{path}: {rule}, of {few}")
    for name in names:
        if name not in known:
            raise ValueError(f"{path}: has no dataset {name!r}: must be of {few}")
    return names

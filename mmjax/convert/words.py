"""Tokenizers of checkpoints: which file it is, and how many ids it needs."""

import pathlib
from collections.abc import Mapping
from typing import Any

from data_pipelines import tokenizer
from data_pipelines.tokenizer import KINDS


def find(named: str, folder: str) -> pathlib.Path | None:
    """The file that is named, or the one in a checkpoint's folder; None without one.

    A sentencepiece model counts before the tokenizer.json that was made of it.
    """
    if named:
        if not pathlib.Path(named).is_file():
            raise ValueError(f"--tokenizer={named}: no such file")
        return pathlib.Path(named)
    if not folder:
        return None
    root = pathlib.Path(folder)
    root = root if root.is_dir() else root.parent
    return next((root / name for name in KINDS if (root / name).is_file()), None)


def ids(path: pathlib.Path) -> int:
    """How many ids it has, with those of its control tokens that the model lacks."""
    return tokenizer.open(path).vocab_size


def of_checkpoint(
    named: str, checkpoint: str, meta: Mapping[str, Any]
) -> pathlib.Path | None:
    """The file that is named, that of an import, or that of a run's data; or None."""
    data = meta["config"].get("data") or {}
    for place in (checkpoint, data.get("tokenizer"), data.get("root")):
        found = find(named, place or "")
        if found is not None:
            return found
    return None

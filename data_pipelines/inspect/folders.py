"""Prepared folders under a root, and which of their documents are looked at."""

import pathlib

import numpy as np

from data_pipelines import shards, tokenizer
from data_pipelines.tokenizer import Tokenizer

TRAINING = "train"  # last part of the name of a folder that is trained on


def find(root: str) -> list[str]:
    """Names of the prepared folders, relative to `root`, in order.

    "." is the root itself. Raises ValueError where there is none.
    """
    top = pathlib.Path(root)
    if not root or not top.is_dir():
        raise ValueError(f"--root={root}: no such folder")
    found = sorted(
        path.parent.relative_to(top).as_posix()
        for path in top.rglob(shards.MANIFEST)
        if not any(part.startswith(".") for part in path.relative_to(top).parts)
    )
    if not found:
        raise ValueError(
            f"--root={root}: no prepared corpora in it (no {shards.MANIFEST})"
        )
    return found


def open_tokenizer(root: str, path: str) -> Tokenizer:
    """The tokenizer at `path`, or else the one in `root`, where preparing leaves it.

    Raises ValueError where there is none.
    """
    if path:
        return tokenizer.open(path)
    for folder in (pathlib.Path(root), *pathlib.Path(root).absolute().parents[:2]):
        found = tokenizer.in_folder(folder)
        if found.is_file():
            return tokenizer.open(found)
    raise ValueError(f"--root={root}: no tokenizer in it; name one: --tokenizer")


def is_training(name: str) -> bool:
    """Whether a folder of this name is trained on; all others are held out."""
    return name.rpartition("/")[2] == TRAINING


def sample(total: int, limit: int) -> np.ndarray:
    """Numbers of at most `limit` of `total` documents, evenly spread; 0: of all.

    Records are sorted by hashes of their content, so these are as good as random.
    """
    if not limit or total <= limit:
        return np.arange(total)
    return np.arange(limit) * total // limit

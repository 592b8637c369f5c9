"""LLaVA-NeXT's mixtures: YAML that lists JSON files, and how much of each is read.

    datasets: [{json_path: a.json, sampling_strategy: "first:50%"}]

Strategies are those of `sampling`; `seed` beside a random one decides what it draws.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import json_records, listing, sampling
from data_pipelines.prepare.formats.base import Input
from data_pipelines.prepare.formats.sampling import Sampling


def sniff(values: Any) -> bool:
    """Whether a list's values are those of a mixture."""
    datasets = values.get("datasets") if isinstance(values, dict) else None
    first = datasets[0] if isinstance(datasets, list) and datasets else None
    return isinstance(first, dict) and "json_path" in first


def members(path: pathlib.Path, names: list[str], folder: str) -> Iterator[Input]:
    """The files of the mixture, in order, as patterns whose format isn't told yet."""
    if names:
        raise ValueError(f"{path}#{','.join(names)}: a mixture is read as a whole")
    values = listing.mapping(path, "the top level", listing.loaded(path))
    datasets = values.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise ValueError(f"{path}: datasets must be a list of {{json_path}}")
    for number, value in enumerate(datasets, start=1):
        where = f"dataset {number}"
        entry = listing.mapping(path, where, value)
        file = listing.local(path, f"{where}: json_path", entry.get("json_path"))
        if not file.name.lower().endswith(json_records.SUFFIXES):
            rule = "must be .json or .jsonl"
            raise ValueError(f"{path}: {where}: json_path {file.name}: {rule}")
        beside = folder or str(path.parent)
        yield Input(str(file), "", beside, _strategy(path, where, entry))


def _strategy(path: pathlib.Path, where: str, entry: dict[str, Any]) -> Sampling:
    strategy, seed = entry.get("sampling_strategy", "all"), entry.get("seed", 0)
    if type(seed) is not int:
        raise ValueError(f"{path}: {where}: seed {seed!r} must be an integer")
    try:
        return sampling.parse(str(strategy), seed)
    except ValueError as error:
        raise ValueError(f"{path}: {where}: sampling_strategy {error}") from error

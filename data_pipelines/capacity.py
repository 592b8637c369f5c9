"""The capacity of pool groups: image slots, as many as the fullest of a run needs."""

import hashlib
import pathlib
from typing import Any

import numpy as np

from data_pipelines import plan_cache
from data_pipelines.blocks import Blocks
from mmjax.config import Config, Data

VERSION = 1  # of dealing: another version, other groups


def planned(config: Config) -> list[Any]:
    """What a capacity is found for, beside what a plan's digest covers; for JSON."""
    changes = [
        [change.step, list(change.weights)] for change in config.mixture.schedule
    ]
    data = config.data
    return [config.steps, changes, data.pool_capacity, data.pool_multiple]


def need(
    blocks: Blocks,
    first: int,
    stop: int,
    cache_dir: pathlib.Path | str | None,
    digest: str,
    planned: list[Any],
) -> tuple[int, str]:
    """Slots of the heaviest group of batches [first, stop), and how that was found.

    A folder keeps it for plans of this digest that are `planned` like this.
    """
    if cache_dir is None:
        return blocks.need(first, stop)
    facts = repr((VERSION, digest, planned, first))
    name = hashlib.sha256(facts.encode()).hexdigest()
    path = pathlib.Path(cache_dir) / f"pools-{name[:24]}.npz"
    arrays = plan_cache.load(path, name)
    if arrays is None:
        slots, words = blocks.need(first, stop)
        arrays = {"need": np.array(slots), "words": np.array(words)}
        plan_cache.save(path, name, arrays)
    return int(arrays["need"]), str(arrays["words"])


def fitting(need: int, data: Data) -> int:
    """The smallest capacity that is enough."""
    return max(-(-need // data.pool_multiple), 1) * data.pool_multiple


def chosen(need: int, data: Data) -> int:
    """The capacity of a config; ValueError where an explicit one isn't enough."""
    explicit = data.pool_capacity
    if explicit and need > explicit:
        raise ValueError(
            f"data.pool_capacity={explicit}: a pool group needs {need} image "
            f"slots; set it to {fitting(need, data)}, or to 0 for the fewest that fit"
        )
    return explicit or fitting(need, data)

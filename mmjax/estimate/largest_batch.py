"""The largest batch that fits a topology, found by compiling a few batches."""

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mmjax.config import Config
from mmjax.estimate import search
from mmjax.estimate.estimator import DoesNotFitError
from mmjax.estimate.prediction import Prediction
from mmjax.estimate.search import Outcome
from mmjax.estimate.topologies import GIB, Topology

FIELD = "data.rows_per_batch"


class Found(NamedTuple):
    """The largest batch that fits, and all that were tried."""

    rows: int
    outcomes: list[Outcome]  # in the order of trying


def find(config: Config, topology: Topology, estimate: Callable) -> Found:
    """The most rows a batch can have; `config`'s mesh has its sizes.

    A batch has a whole number of pool groups for each part of the mesh and of the
    batch. From the memory of those tried the next is guessed, along a line, until one
    fits and the next larger doesn't. `estimate(config, name)` gives a Prediction.

    Raises DoesNotFitError where the smallest batch needs too much.
    """
    unit = _unit(config)
    needs: dict[int, float] = {}  # bytes of a device, by units
    outcomes: list[Outcome] = []

    def fits(units: int) -> bool:
        (variant,) = search.variants(config, [f"{FIELD}={units * unit}"])
        try:
            found: Prediction = estimate(variant.config, variant.name)
        except DoesNotFitError as error:
            needs[units] = error.needs
            outcomes.append(Outcome(variant, None, str(error)))
            if units == 1:
                raise
            return False
        needs[units] = found.memory.total
        outcomes.append(Outcome(variant, found, ""))
        return True

    most, too_many = 0, None
    units = max(1, config.data.rows_per_batch // unit)
    while too_many is None or too_many - most > 1:
        if fits(units):
            most = units
        else:
            too_many = units
        guess = _guess(needs, topology.generation.hbm_bytes)
        least, last = most + 1, 2 * units if too_many is None else too_many - 1
        units = min(max(guess, least), max(last, least))
    return Found(most * unit, outcomes)


def _unit(config: Config) -> int:
    """Rows of the smallest batch that the mesh and the parts of a batch allow."""
    mesh, rows = config.mesh, config.data.rows_per_pool
    return rows * mesh.data * mesh.expert * config.optim.accumulate


def _guess(needs: dict[int, float], there: float) -> int:
    """Units that fill a device, if memory grows by as much with each."""
    if len(needs) == 1:
        ((units, size),) = needs.items()
        return int(units * there / size)
    # The two that are nearest to what is there say most about it.
    near = sorted(sorted(needs, key=lambda units: abs(needs[units] - there))[:2])
    (first, second), (low, high) = near, (needs[units] for units in near)
    if high <= low:
        return second + 1
    return int(first + (there - low) * (second - first) / (high - low))


def lines(found: Found, topology: Topology) -> Iterator[str]:
    """What was found, and a table of what was tried."""
    (total,) = (
        each.found.memory.total / GIB
        for each in found.outcomes
        if each.found and each.variant.config.data.rows_per_batch == found.rows
    )
    yield (
        f"largest batch that fits: {FIELD}={found.rows}, "
        f"{found.rows / topology.chips:g} rows a chip, {total:.1f} of "
        f"{topology.generation.hbm_bytes / GIB:.0f} GiB of a device"
    )
    yield ""
    yield from search.lines(found.outcomes)


def to_json(found: Found) -> str:
    """The same for programs."""
    tried = json.loads(search.to_json(found.outcomes))
    return json.dumps({"largest_batch": found.rows, "tried": tried}, indent=1)

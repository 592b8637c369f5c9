"""From a config and a topology of TPUs to a prediction."""

import dataclasses
import pathlib
import sys
import time
from typing import NamedTuple

from mmjax import hlo, shortage, validation
from mmjax.config import Config
from mmjax.estimate import (
    compiler_flags,
    compiling,
    memory,
    prediction,
    replay,
    workload,
)
from mmjax.estimate.prediction import Prediction
from mmjax.estimate.topologies import Topology


class DoesNotFitError(ValueError):
    """A step needs more memory than a device has."""

    def __init__(self, message: str, needs: float):
        super().__init__(message)
        self.needs = needs  # bytes of a device


class Ask(NamedTuple):
    """What a command line asks for."""

    images_per_row: float
    flags: str  # "default" or "none"
    more_flags: list[str]
    price_per_chip_hour: float
    folder: pathlib.Path


def estimate(config: Config, topology: Topology, asked: Ask) -> Prediction:
    """The prediction for one topology.

    Raises ValueError where the config's mesh doesn't fit the devices, the compiler
    isn't there or refuses; DoesNotFitError where a device's memory doesn't suffice.
    """
    options = compiler_flags.options(
        topology.generation.name, asked.flags, asked.more_flags
    )
    mesh = validation.resolve_mesh(config, topology.devices)
    config = dataclasses.replace(config, mesh=mesh)
    compiling.require_compiler()
    load = workload.of(config, asked.images_per_row)
    say(f"compiling for {topology.chips} chips; this takes minutes")
    began = time.monotonic()
    compiled = compiling.for_tpu(config, topology, load.capacity, options, asked.folder)
    say(f"compiled after {time.monotonic() - began:.0f} s")
    if "error" in compiled.result:
        raise _refusal(compiled, topology)
    assert compiled.program is not None
    with compiled.program.open(errors="replace") as lines:
        played = replay.replay(
            hlo.parse(lines),
            topology.generation,
            topology.devices // topology.slices if topology.slices > 1 else 0,
        )
    return prediction.predict(
        config,
        topology,
        load,
        compiled.result,
        compiled.report,
        played,
        asked.price_per_chip_hour,
    )


def _refusal(compiled: compiling.Compiled, topology: Topology) -> ValueError:
    """The error, of one line, for what the compiler couldn't do."""
    message = compiled.result["error"]
    lacking = shortage.lack(message)
    if lacking is None:
        return ValueError(f"the compiler refuses: {' '.join(message.split())}")
    pieces = memory.largest(compiled.report, 1)
    told = memory.told(lacking, topology.generation, pieces)
    return DoesNotFitError(told, lacking.asked)


def say(line: str) -> None:
    """Progress, apart from what programs may read."""
    print(line, file=sys.stderr, flush=True)

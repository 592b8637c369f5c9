"""Memory and FLOPs of a run on GPUs, for whose time there is no model."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator, Mapping

from mmjax import dry_run, flops, metrics, validation
from mmjax.config import Config
from mmjax.estimate import compiling
from mmjax.estimate.topologies import GIB
from mmjax.estimate.workload import Workload

# Bytes of one, by the name before the colon; peaks are in mmjax.flops.
MEMORY: Mapping[str, float] = {"a100": 80 * GIB, "h100": 80 * GIB, "h200": 141 * GIB}
NO_TIME = "no time: there is no model of the speed of GPUs, only bounds"


def is_gpu(topology: str) -> bool:
    """Whether a topology's name is that of GPUs."""
    return topology.partition(":")[0] in MEMORY


def kind_and_count(topology: str) -> tuple[str, int]:
    """("h100", 64) of `h100:64`; ValueError where the number is none."""
    kind, _, count = topology.partition(":")
    if not count.isdigit() or not int(count):
        raise ValueError(f"--topology={topology}: must be like {kind}:64")
    return kind, int(count)


def lines(
    config: Config,
    topology: str,
    workload: Workload,
    folder: pathlib.Path,
    as_json: bool,
) -> Iterator[str]:
    """What is known of a run on so many GPUs, as `h100:64` has it.

    Raises ValueError where the number is none, or the config's mesh doesn't fit it.
    """
    kind, count = kind_and_count(topology)
    mesh = validation.resolve_mesh(config, count)
    config = dataclasses.replace(config, mesh=mesh)
    asked = compiling.for_virtual_devices(
        config, count, workload.capacity, folder
    ).result
    if "error" in asked:
        raise ValueError(" ".join(asked["error"].split()))
    costs = flops.costs(config.model, workload.work, asked["trainable"])
    parts = {name: cost.total for name, cost in costs.items()}
    peak = (flops.peak(kind) or math.nan) * count
    least = sum(parts.values()) / peak
    held = sum(asked["held"].values())
    if as_json:
        found = {
            "topology": topology,
            "mesh": vars(config.mesh),
            "predicted_mfu": None,
            "step_seconds": None,
            "step_seconds_at_peak": least,
            "bytes_per_chip": None,
            "held_bytes_per_chip": asked["held"],
            "model_flops": parts,
            "work_from": workload.note,
        }
        yield json.dumps(found, indent=1)
        return
    yield f"{topology}: {NO_TIME}"
    yield f"work: {workload.note}"
    yield f"{metrics.compact(sum(parts.values()))}FLOP a step; {least:.3f} s at peak"
    yield "memory of one GPU, without what its kernels and collectives need meanwhile:"
    yield from (f"  {name:12} {size / GIB:.2f} GiB" for name, size in
                asked["held"].items())  # fmt: skip
    yield f"  {'in all':12} {held / GIB:.2f} GiB of {MEMORY[kind] / GIB:.0f} GiB"
    yield from dry_run.flops_table("FLOPs of a step", costs)

"""What a replay carries along: the program, the clocks and what was counted."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

from mmjax import hlo
from mmjax.estimate import collectives, kernels, products, traffic
from mmjax.estimate.collectives import Found, Transfer
from mmjax.estimate.timeline import Label, Timeline
from mmjax.estimate.topologies import Generation
from mmjax.hlo import Computation, Instruction, Module

HBM_EFFICIENCY = 0.75  # share of the bandwidth where there is no estimate
MATMUL_EFFICIENCY = 0.80  # likewise, share of peak
WAITS = {"hbm": "vmem_wait", "host": "host_wait", "sparsecore": "sparsecore_wait"}


class Program(NamedTuple):
    """A module with what is known of its computations before it is replayed."""

    module: Module
    flops: Mapping[str, float]
    at_peak: Mapping[str, float]  # seconds of the products of each computation
    collectives: Mapping[str, Found | None]
    split: bool  # see kernels.splits_backward
    generation: Generation
    slice_devices: int  # 0: all devices are one slice


def program(module: Module, generation: Generation, slice_devices: int) -> Program:
    """The module, with FLOPs and collectives of its computations found."""
    return Program(
        module,
        products.by_computation(module),
        products.by_computation(
            module, functools.partial(products.at_peak, generation)
        ),
        collectives.by_computation(module),
        kernels.splits_backward(module),
        generation,
        slice_devices,
    )


class Walk:
    """One pass through a program, which moves the clocks of a timeline."""

    def __init__(self, program: Program):
        self.program, self.timeline = program, Timeline()
        self.hbm_bytes, self.notes = 0.0, []
        self.targets: dict[str, str] = {}  # what an asynchronous call runs, by its name
        self.fused_end = 0.0  # of the collective that fusions carry on
        generation = program.generation
        self.cycle = generation.calibration / generation.clock  # seconds
        self.hbm = generation.hbm_bandwidth * HBM_EFFICIENCY
        self.touched: dict[str, traffic.Touched | None] = {}

    def moved(self, instruction: Instruction, computation: Computation) -> float:
        """Bytes that an instruction moves to and from HBM."""
        key = hlo.attribute(instruction, "calls")
        if key not in self.touched:
            self.touched[key] = traffic.touched(self.program.module, instruction)
        partly = self.touched[key] if instruction.opcode == "fusion" else None
        return traffic.hbm_bytes(instruction, computation, partly)

    def transfer(self, found: Found) -> Transfer:
        """The time of a collective on these chips."""
        program = self.program
        return collectives.transfer(found, program.generation, program.slice_devices)

    def wait(self, label: Label, kind: str, until: float, times: float) -> None:
        """The core waits, if that time hasn't come yet."""
        part = WAITS.get(kind, "collectives")
        self.timeline.run(label, part, max(0.0, until - self.timeline.now), times)

    def expose(self, label: Label, moved: Transfer, times: float, engine="ici") -> None:
        """A collective that the core waits for from beginning to end."""
        clock = self.timeline
        waits = clock.block(label, engine, moved.kind, moved.seconds, times)
        clock.run(label, "collectives", waits, times)


def label(instruction: Instruction) -> Label:
    """What the events of an instruction are called."""
    return Label(instruction.name, hlo.scope(instruction))

"""Replays a scheduled HLO module on the clocks of a TPU: when it does what.

The order of instructions is that of the core. Fusions take the compiler's own estimate
of cycles. What is started goes on beside the core; only the wait for its end counts.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from mmjax import hlo
from mmjax.estimate import communication, computing, loops
from mmjax.estimate import walk as walks
from mmjax.estimate.timeline import Event, Repeat
from mmjax.estimate.topologies import Generation
from mmjax.estimate.walk import Walk
from mmjax.hlo import Computation, Instruction, Module

FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all",
    "partition-id", "replica-id", "opt-barrier", "add-dependency", "domain", "iota",
    "send", "recv",
}  # fmt: skip


class Replay(NamedTuple):
    """What a step does, and how sure of its loops we are."""

    seconds: float
    events: list[Event]
    repeats: list[Repeat]
    hbm_bytes: float  # moved to and from HBM
    notes: list[str]  # trip counts that were guessed


def replay(module: Module, generation: Generation, slice_devices: int = 0) -> Replay:
    """The timeline of one step; slices have so many devices (0: there is one)."""
    walk = Walk(walks.program(module, generation, slice_devices))
    _run(walk, module.computations[module.entry], 1.0)
    found = walk.timeline
    return Replay(found.now, found.events, found.repeats, walk.hbm_bytes, walk.notes)


def _run(walk: Walk, computation: Computation, times: float) -> None:
    """Replays the instructions, which stand in loops of so many passes in all."""
    for instruction in computation.instructions:
        if instruction.opcode not in FREE:
            _handler(instruction.opcode)(walk, instruction, computation, times)


def _handler(opcode: str) -> Callable:
    if hlo.without_start(opcode) in hlo.COLLECTIVES:
        return communication.collective
    if opcode.endswith("-done"):
        return communication.done
    return HANDLERS.get(opcode, computing.other)


def _while(walk: Walk, loop: Instruction, around: Computation, times: float) -> None:
    """Two passes are replayed; the second stands for all but the first."""
    module, clock = walk.program.module, walk.timeline
    trips = loops.trips(module, loop, around)
    if trips.is_guess:
        walk.notes.append(f"trip count of {loop.name} is a guess: {trips.passes}")
    body = module.computations[hlo.attribute(loop, "body")]
    if trips.passes > 0:
        _run(walk, body, times)
    if trips.passes > 1:
        before = clock.now
        _run(walk, body, times * (trips.passes - 1))
        clock.repeat(before, trips.passes - 1)


def _conditional(walk: Walk, branching: Instruction, _, times: float) -> None:
    """The longest branch, by its instructions with an estimate."""
    attributes, computations = branching.attributes, walk.program.module.computations
    listed = re.search(r"branch_computations=\{([^}]*)\}", attributes)
    names = re.findall(r"%([\w.\-]+)", listed[1]) if listed else []
    keys = ("true_computation", "false_computation")
    names += [hlo.attribute(branching, key) for key in keys]
    branches = [computations[name] for name in names if name in computations]
    if branches:
        longest = max(branches, key=lambda b: sum(hlo.cycles(i) or 0
                                                  for i in b.instructions))  # fmt: skip
        _run(walk, longest, times)


def _call(walk: Walk, call: Instruction, _, times: float) -> None:
    name = hlo.attribute(call, "to_apply") or hlo.attribute(call, "calls")
    inner = walk.program.module.computations.get(name)
    if inner is not None:
        _run(walk, inner, times)


HANDLERS: dict[str, Callable] = {
    "while": _while,
    "conditional": _conditional,
    "call": _call,
    "async-start": communication.asynchronous,
    "async-update": communication.asynchronous,
    "copy-start": communication.copy_start,
    "fusion": computing.fusion,
    "custom-call": computing.custom_call,
    "convolution": computing.convolution,
}

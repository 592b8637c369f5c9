"""What happens beside the core: collectives, and copies to and from other memory."""

import math

from mmjax import hlo
from mmjax.estimate.collectives import Found, Transfer
from mmjax.estimate.timeline import Event, Label
from mmjax.estimate.walk import MATMUL_EFFICIENCY, Walk
from mmjax.estimate.walk import label as label_of
from mmjax.hlo import Computation, Instruction, Module, Shape


def collective(
    walk: Walk, instruction: Instruction, computation: Computation, times: float
) -> None:
    """A collective, or the start of one."""
    found = Found(instruction, computation)
    moved = walk.transfer(found)
    label, clock = label_of(instruction), walk.timeline
    if instruction.opcode.endswith("-start"):
        clock.begin(label, moved.engine, moved.kind, moved.seconds, times)
    else:
        walk.expose(label, moved, times)


def done(walk: Walk, done: Instruction, _, times: float) -> None:
    """The end of anything that was started: the core waits for it."""
    until, kind = walk.timeline.end(done.operands[0])
    walk.wait(label_of(done), kind, until, times)


def asynchronous(walk: Walk, call: Instruction, _, times: float) -> None:
    """A call of another engine: of the SparseCore, or of the one that copies.

    An update takes over what was started, where the operands are only then known.
    """
    program, clock = walk.program, walk.timeline
    is_update = call.opcode == "async-update"
    if is_update:
        clock.end(call.operands[0])
        target = walk.targets.get(call.operands[0], "")
    else:
        target = hlo.attribute(call, "calls")
    walk.targets[call.name] = target
    is_empty = not is_update and call.operands == ("",)
    if is_empty or target not in program.module.computations:
        return
    found, label = program.collectives[target], label_of(call)
    if found is not None:
        moved = walk.transfer(found)
        clock.begin(label, moved.engine, moved.kind, moved.seconds, times)
    elif is_update or "sparsecore" in call.attributes:
        seconds = hlo.size(call.shapes, hlo.HBM) / (walk.hbm * 0.5)
        clock.begin(label, "sparsecore", "sparsecore", seconds, times)
    else:
        arrays = [s for s in call.shapes if s.space not in hlo.FLAGS]
        large = [hlo.size([s]) for s in arrays if math.prod(s.dims) > 64]
        to_host = _has(program.module, target, "dynamic-update-slice")
        _copy_beside(walk, label, arrays, min(large, default=0), to_host, times)


def copy_start(walk: Walk, copy: Instruction, _, times: float) -> None:
    """The start of a copy between HBM, the core's own memory and the host's."""
    source = copy.shapes[0]
    to_host = copy.shapes[1].space != hlo.HOST
    size = hlo.size([source])
    _copy_beside(walk, label_of(copy), list(copy.shapes), size, to_host, times)


def _copy_beside(
    walk: Walk, label: Label, arrays: list[Shape], size: float, to_host: bool,
    times: float,
) -> None:  # fmt: skip
    """A copy within the device, or between it and its host, beside the core."""
    if any(array.space == hlo.HOST for array in arrays):
        seconds = size / walk.program.generation.host_bandwidth
        engine = "to_host" if to_host else "from_host"
        walk.timeline.begin(label, engine, "host", seconds, times)
    else:
        walk.timeline.begin(label, "dma", "hbm", size / walk.hbm, times)
        walk.hbm_bytes += size * times


def _has(module: Module, name: str, opcode: str) -> bool:
    """Whether a computation, or one that it calls, has such an instruction."""
    return any(
        each.opcode == opcode
        or any(_has(module, inner, opcode) for inner in hlo.called(module, each))
        for each in module.computations[name].instructions
    )


def fused_collective(
    walk: Walk, fusion: Instruction, found: Found, times: float
) -> None:
    """A collective inside a fusion: alone, or carried on beside a product."""
    moved = walk.transfer(found)
    inner = hlo.attribute(fusion, "calls")
    if "reduce-scatter" in fusion.name or "all-reduce-scatter" in inner:
        halves = 2 if found.instruction.opcode == "all-reduce" else 1
        moved = moved._replace(kind="reduce-scatter", seconds=moved.seconds / halves)
    flops = walk.program.flops[inner]
    names = f"{fusion.name} {inner}".replace("-", "_")
    if flops or "async_collective" in names:
        _carried(walk, fusion, moved, flops, times)
    else:
        walk.expose(label_of(fusion), moved, times)


def _carried(
    walk: Walk,
    fusion: Instruction,
    moved: Transfer,
    flops: float,
    times: float,
) -> None:
    """A product under which a collective begins, goes on or ends, by its name."""
    clock, label = walk.timeline, label_of(fusion)
    least = walk.program.at_peak[hlo.attribute(fusion, "calls")] / MATMUL_EFFICIENCY
    seconds = max((hlo.cycles(fusion) or 0) * walk.cycle, least)
    begins = clock.now
    kind = "matmul" if flops else "elementwise"
    clock.run(label, kind, seconds, times, flops)
    if "start" in fusion.name:
        start = max(clock.free.get("ici", 0.0), begins)
        walk.fused_end = clock.free["ici"] = start + moved.seconds
        clock.events.append(
            Event("ici", moved.kind, start, moved.seconds, times, 0.0, *label)
        )
    elif "done" in fusion.name:
        walk.wait(label, moved.kind, walk.fused_end, times)

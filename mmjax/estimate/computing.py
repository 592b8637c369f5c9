"""What the core computes: fusions, kernels, products and copies."""

import re

from mmjax import hlo
from mmjax.estimate import communication, kernels, products
from mmjax.estimate.walk import MATMUL_EFFICIENCY, Walk
from mmjax.estimate.walk import label as label_of
from mmjax.hlo import Computation, Instruction

KERNEL_EFFICIENCY = 0.50  # share of peak, of kernels that aren't attention
NOTHING_BELOW = 1 << 16  # bytes: without an estimate, moving fewer is free
COPIES = {"copy", "transpose", "reshape", "broadcast", "pad", "slice", "concatenate"}


def fusion(
    walk: Walk, fusion: Instruction, computation: Computation, times: float
) -> None:
    """A fusion: by the compiler's estimate, and never above the peak."""
    program = walk.program
    name = hlo.attribute(fusion, "calls")
    if name not in program.module.computations:
        other(walk, fusion, computation, times)
        return
    found, flops = program.collectives[name], program.flops[name]
    if found is not None:
        communication.fused_collective(walk, fusion, found, times)
        return
    moved = walk.moved(fusion, computation)
    walk.hbm_bytes += moved * times
    seconds = _compute_seconds(walk, fusion, program.at_peak[name])
    if seconds is None:
        seconds = moved / walk.hbm
    kind = "matmul" if flops else "elementwise"
    walk.timeline.run(label_of(fusion), kind, seconds, times, flops)


def _compute_seconds(
    walk: Walk, instruction: Instruction, at_peak: float
) -> float | None:
    """By the compiler's estimate, never above peak; None without it and products."""
    cycles = hlo.cycles(instruction)
    if cycles is not None:
        return max(cycles * walk.cycle, at_peak)
    return at_peak / MATMUL_EFFICIENCY if at_peak else None


def custom_call(
    walk: Walk, call: Instruction, computation: Computation, times: float
) -> None:
    """A kernel by its FLOPs and bytes; any other call by the compiler's estimate."""
    label, generation = label_of(call), walk.program.generation
    if not kernels.is_kernel(call):
        cycles = hlo.cycles(call)
        if cycles:
            walk.timeline.run(label, "elementwise", cycles * walk.cycle, times)
        return
    kernel = kernels.attention(call, walk.program.split)
    if kernel is not None:
        kind, flops = "attention", kernel.flops
        share = kernels.efficiency(kernel, generation)
    else:
        written = re.search(r'"cost_estimate":\{[^}]*"flops":"?(\d+)', call.attributes)
        kind, flops = "kernels", float(written[1]) if written else 0.0
        share = KERNEL_EFFICIENCY
    moved = walk.moved(call, computation)
    seconds = max(flops / (generation.peak * share), moved / walk.hbm)
    walk.timeline.run(label, kind, seconds, times, flops)


def convolution(
    walk: Walk, product: Instruction, computation: Computation, times: float
) -> None:
    """A matrix product on its own."""
    flops = products.flops(product, computation)
    at_peak = products.at_peak(walk.program.generation, product, computation)
    seconds = _compute_seconds(walk, product, at_peak) or 0.0
    walk.timeline.run(label_of(product), "matmul", seconds, times, flops)


def other(
    walk: Walk, instruction: Instruction, computation: Computation, times: float
) -> None:
    """Whatever else: the compiler's estimate, else its bytes unless they are few."""
    cycles = hlo.cycles(instruction)
    if cycles is not None:
        seconds = cycles * walk.cycle
    else:
        moved = walk.moved(instruction, computation)
        seconds = moved / walk.hbm if moved > NOTHING_BELOW else 0.0
    kind = "copies" if instruction.opcode in COPIES else "elementwise"
    walk.timeline.run(label_of(instruction), kind, seconds, times)

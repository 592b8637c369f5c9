"""FLOPs of the matrix products of an HLO module; for TPUs they are convolutions."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from mmjax import hlo
from mmjax.estimate.topologies import Generation
from mmjax.hlo import Computation, Instruction, Module


class _Window(NamedTuple):
    """One spatial dimension of a convolution."""

    inputs: int
    kernel: int
    outputs: int
    stride: int
    pad: int  # before the first input; negative: so many inputs are left out
    spread: int  # of the inputs: zeros between them, and one
    dilation: int  # of the kernel


def by_computation(
    module: Module, count: Callable[[Instruction, Computation], float] | None = None
) -> Mapping[str, float]:
    """FLOPs of one run of each computation, those that it calls included.

    `count` gives those of an instruction; it is `flops` where it is None.
    """
    count = count or flops
    found: dict[str, float] = {}

    def of(name: str) -> float:
        if name not in found:
            computation, total = module.computations[name], 0.0
            for instruction in computation.instructions:
                total += count(instruction, computation)
                total += sum(of(inner) for inner in hlo.called(module, instruction))
            found[name] = total
        return found[name]

    for name in module.computations:
        of(name)
    return found


def flops(instruction: Instruction, computation: Computation) -> float:
    """FLOPs of a convolution, a multiply-add as two; 0 of any other instruction.

    What a window takes from the padding around an array isn't counted.
    """
    if instruction.opcode != "convolution":
        return 0.0
    arrays = hlo.operands(computation, instruction)
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.attributes)
    if len(arrays) < 2 or labels is None:
        return 0.0
    inputs, kernel = arrays[0].shapes[0].dims, arrays[1].shapes[0].dims
    outputs = instruction.shapes[0].dims
    left, right, out = labels.groups()
    total = 2.0 * kernel[right.index("i")]
    for label, size in zip(out, outputs):
        total *= size if label in "bf" else 1
    windows = _windows(instruction)
    for label in sorted(set(right) - set("io")):
        sizes = (
            inputs[left.index(label)],
            kernel[right.index(label)],
            outputs[out.index(label)],
        )
        total *= _steps(_Window(*sizes, *_options(windows, int(label))))
    return total


def at_peak(
    generation: Generation, instruction: Instruction, computation: Computation
) -> float:
    """Seconds of a convolution at the peak for its operands' dtypes."""
    done = flops(instruction, computation)
    if not done:
        return 0.0
    operands = hlo.operands(computation, instruction)
    narrow = all(hlo.BYTES[array.shapes[0].dtype] <= 1 for array in operands)
    return done / (generation.narrow_peak if narrow else generation.peak)


def _windows(instruction: Instruction) -> Mapping[str, list[str]]:
    """The window of a convolution: {what: its value in each spatial dimension}."""
    text = re.search(r"window=\{([^}]*)\}", instruction.attributes)
    pairs = [entry.split("=", 1) for entry in text[1].split()] if text else []
    return {key: value.split("x") for key, value in pairs}


def _options(windows: Mapping[str, list[str]], place: int) -> tuple[int, ...]:
    """(stride, pad, spread, dilation) of a spatial dimension."""

    def value(key: str, default: str) -> int:
        entries = windows.get(key, [])
        entry = entries[place] if place < len(entries) else default
        return int(entry.split("_")[0])

    return (
        value("stride", "1"),
        value("pad", "0"),
        value("lhs_dilate", "1"),
        value("rhs_dilate", "1"),
    )


def _steps(window: _Window) -> int:
    """Pairs of an output and a tap of the kernel that meet a real input."""
    last = (window.inputs - 1) * window.spread
    count = 0
    for tap in range(window.kernel):
        offset = tap * window.dilation - window.pad
        if window.spread == 1:  # 0 <= offset + stride * output <= last
            first = max(0, -(offset // window.stride))
            end = min(window.outputs - 1, (last - offset) // window.stride)
            count += max(0, end - first + 1)
        else:
            places = range(offset, offset + window.outputs * window.stride,
                           window.stride)  # fmt: skip
            count += sum(0 <= p <= last and p % window.spread == 0 for p in places)
    return count

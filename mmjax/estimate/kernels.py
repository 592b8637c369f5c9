"""FLOPs of attention kernels, for which the compiler has no estimate, from shapes."""

import math
import re
from typing import NamedTuple

from mmjax import hlo
from mmjax.estimate.topologies import WIDE_HEADS, Generation
from mmjax.hlo import Instruction, Module

_NAMES = re.compile(r"splash|flash|attention|mha|mqa", re.IGNORECASE)
_SMALLEST = 64  # of the last two dimensions of queries, keys and values
_ENCODER = 1024  # tokens; shorter square attention is an image's, and isn't causal
_LANES = 128  # smaller heads take a matrix unit as long as heads of so many numbers
_BLOCK = 512  # tokens of a kernel's block where none is written
_BLOCKS = re.compile(
    r'block_q(?:_dkv|_dq)?\\?": (\d+).*?block_kv(?:_dkv|_dq)?\\?": (\d+)'
)


class Kernel(NamedTuple):
    """What a kernel computes."""

    flops: float
    is_forward: bool
    head_size: int


def is_kernel(instruction: Instruction) -> bool:
    """Whether a custom call is a Pallas kernel."""
    attributes = instruction.attributes
    return "tpu_custom_call" in attributes or "Mosaic" in attributes


def splits_backward(module: Module) -> bool:
    """Whether gradients of queries have a kernel of their own in this program."""
    return any(
        instruction.opcode == "custom-call" and "_dq" in instruction.name
        for computation in module.computations.values()
        for instruction in computation.instructions
    )


def attention(instruction: Instruction, split: bool) -> Kernel | None:
    """The work of an attention kernel; None where the custom call isn't one.

    `split` is `splits_backward` of the program.
    """
    name = f"{instruction.name} {hlo.scope(instruction)}"
    if not _NAMES.search(name):
        return None
    listed = re.search(
        r"operand_layout_constraints=\{(.*?)\}(?:, \w+=|$)", instruction.attributes
    )
    operands = hlo.shapes(listed[1]) if listed else ()
    large = [
        shape.dims
        for shape in operands
        if shape.dtype in ("bf16", "f32")
        and len(shape.dims) >= 3
        and min(shape.dims[-2:]) >= _SMALLEST
    ]
    if len(large) < 3:
        return None
    queries, keys = _rows_first(large[0]), _rows_first(large[1])
    if "SEQ_MINOR" in instruction.attributes:
        queries = (*large[0][:-2], large[0][-1], large[0][-2])
    share = _share(instruction, operands, queries[-2], keys[-2])
    is_forward = _is_forward(name)
    products = 2 if is_forward else _backward_products(name, split)
    pairs = math.prod(queries[:-2]) * queries[-2] * keys[-2] * share
    size = -(-queries[-1] // _LANES) * _LANES
    return Kernel(products * 2 * pairs * size, is_forward, size)


def _rows_first(dims: tuple[int, ...]) -> tuple[int, ...]:
    """[..., tokens, size] also where the kernel has them the other way round."""
    *before, tokens, size = dims
    if size > tokens and tokens <= 256:
        return (*before, size, tokens)
    return dims


def _is_forward(name: str) -> bool:
    backward = re.search(r"dkv|dq|bwd|backward", name)
    return bool(re.search(r"fwd|forward", name)) or not backward


def _backward_products(name: str, split: bool) -> int:
    """Matrix products of a backward kernel, scores computed again among them."""
    if "_dq" in name and "dkv" not in name:
        return 3
    return 4 if split else 5


def _share(
    instruction: Instruction, operands: tuple[hlo.Shape, ...], queries: int, keys: int
) -> float:
    """The share of all pairs that a causal kernel computes, by whole blocks.

    Fewer queries than keys are a device's part of a row (`mmjax.ops.context`).
    """
    if queries > keys or queries == keys <= _ENCODER:
        return 1.0
    grid = next(
        (
            shape.dims
            for shape in operands
            if shape.dtype in ("s8", "s32")
            and len(shape.dims) == 3
            and shape.dims[0] <= 64
            and max(shape.dims[1:]) <= 256
        ),
        None,
    )
    written = _BLOCKS.search(instruction.attributes)
    if written:
        block = max(int(written[1]), int(written[2]))
    else:
        block = queries // grid[1] if grid else _BLOCK
    share = (1 + min(1.0, block / keys)) / 2
    blocks = keys // block
    if grid and blocks and grid[2] < blocks and grid[1] >= queries // block:
        share = min(share, grid[2] * block / keys)  # a window leaves less
    return share


def efficiency(kernel: Kernel, generation: Generation) -> float:
    """The share of peak that the kernel is assumed to reach: it is not measured."""
    wide, full = WIDE_HEADS
    shares = full if kernel.head_size >= wide else generation.attention
    return shares[0] if kernel.is_forward else shares[1]

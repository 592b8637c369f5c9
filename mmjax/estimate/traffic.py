"""Bytes that an instruction moves to and from the memory of its device."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from mmjax import hlo
from mmjax.hlo import Computation, Instruction, Module

_SLICES = ("dynamic-slice", "slice")
_PARTIAL = (*_SLICES, "dynamic-update-slice")


class Touched(NamedTuple):
    """Where a fusion reads or writes a slice of a large array only."""

    operands: Mapping[int, float]  # bytes read of these operands
    outputs: float  # to be added to the bytes of its outputs


def touched(module: Module, fusion: Instruction) -> Touched | None:
    """What a fusion touches in part; None where it is no fusion."""
    inner = module.computations.get(hlo.attribute(fusion, "calls"))
    if fusion.opcode != "fusion" or inner is None:
        return None
    uses: dict[int, list[tuple[Instruction, int]]] = defaultdict(list)
    for user in inner.instructions:
        for place, name in enumerate(user.operands):
            source = inner.by_name.get(name)
            if source is not None and source.opcode == "parameter":
                uses[int(source.operands[0])].append((user, place))
    sliced = {
        operand: sum(hlo.size(user.shapes, hlo.HBM) for user, _ in users
                     if user.opcode in _SLICES)
        for operand, users in uses.items()
        if _only_slices(users)
    }  # fmt: skip
    return Touched(sliced, sum(_not_written(inner, i) for i in inner.instructions))


def _only_slices(users: list[tuple[Instruction, int]]) -> bool:
    """Whether slices of an operand are all that is read or updated."""
    opcodes = {user.opcode for user, _ in users}
    first = all(place == 0 for _, place in users)
    return first and opcodes <= {*_PARTIAL, "bitcast"} and opcodes != {"bitcast"}


def _not_written(inner: Computation, update: Instruction) -> float:
    """Minus the bytes of an updated array outside of the updated slice."""
    if update.opcode != "dynamic-update-slice":
        return 0.0
    part = inner.by_name.get(update.operands[1])
    if part is None:
        return 0.0
    return hlo.size(part.shapes) - hlo.size(update.shapes, hlo.HBM)


def hbm_bytes(
    instruction: Instruction, computation: Computation, partly: Touched | None
) -> float:
    """Bytes read from HBM and written to it."""
    partly = partly or Touched({}, 0.0)
    total = max(0.0, hlo.size(instruction.shapes, hlo.HBM) + partly.outputs)
    for place, name in enumerate(instruction.operands):
        source = computation.by_name.get(name)
        if source is not None:
            whole = hlo.size(source.shapes, hlo.HBM)
            total += min(whole, partly.operands.get(place, whole))
    return total

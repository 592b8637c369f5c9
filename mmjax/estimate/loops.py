"""How often the loops of an HLO module run, from their conditions."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from mmjax import hlo
from mmjax.hlo import Computation, Instruction, Module

# Instructions that hand on a counter as it is.
_SAME = ("copy", "bitcast", "convert", "copy-start", "copy-done")
_DEEPEST = 12  # instructions between a counter and where it comes from
_TURNED = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE"}


class Trips(NamedTuple):
    """How often a loop's body runs."""

    passes: int
    is_guess: bool


class _Test(NamedTuple):
    """A condition: element `place` of the loop's tuple against a constant."""

    direction: str
    place: int
    limit: int


def trips(module: Module, loop: Instruction, around: Computation) -> Trips:
    """The trip count of a `while` that stands in the computation `around`.

    Taken from what the compiler wrote, else derived from condition, step and start,
    else guessed as the largest constant of the condition.
    """
    known = re.search(r'known_trip_count"?[:=]\{"?n"?[:=]"?(\d+)', loop.attributes)
    if known:
        return Trips(int(known[1]), False)
    count = _derived(module, loop, around)
    if count is not None:
        return Trips(count, False)
    condition = hlo.attribute(loop, "condition")
    count = max(_constants(module, condition), default=1)
    if "windowed_dot_general" in hlo.attribute(loop, "body"):
        count = max(1, count // 2)  # a product in windows takes two at a time
    return Trips(count, True)


def _constants(module: Module, name: str) -> Iterator[int]:
    """Integers in a computation and in what it calls."""
    for instruction in module.computations[name].instructions:
        value = instruction.operands[0]
        if instruction.opcode == "constant" and value.lstrip("-").isdigit():
            yield int(value)
        for inner in hlo.called(module, instruction):
            yield from _constants(module, inner)


def _derived(module: Module, loop: Instruction, around: Computation) -> int | None:
    test = _test(module, hlo.attribute(loop, "condition"))
    if test is None:
        return None
    body = module.computations[hlo.attribute(loop, "body")]
    root = next((i for i in body.instructions if i.is_root), None)
    if root is None or root.opcode != "tuple" or test.place >= len(root.operands):
        return None
    step = _step(module, body, root.operands[test.place], test.place)
    if not step:
        return None
    start = 0
    first = around.by_name.get(loop.operands[0])
    if first and first.opcode == "tuple" and test.place < len(first.operands):
        start = _constant(around, first.operands[test.place]) or 0
    return _count(test, start, step)


def _count(test: _Test, start: int, step: int) -> int:
    """How often start, start + step, ... passes the test before it first fails."""
    if test.direction == "NE":
        return abs(test.limit - start) // abs(step)
    beyond = {"LE": 1, "GE": -1}.get(test.direction, 0)
    return max(0, -(-(test.limit + beyond - start) // step))


def _test(module: Module, name: str) -> _Test | None:
    """What a condition compares, also where the comparison is fused."""
    condition = module.computations[name]
    found = None  # (comparison, its computation, the fusion around it)
    for each in condition.instructions:
        if each.opcode == "compare":
            found = each, condition, None
        for inner in hlo.called(module, each):
            for one in module.computations[inner].instructions:
                if one.opcode == "compare":
                    found = one, module.computations[inner], each
    if found is None:
        return None
    comparison, where, fusion = found
    sides = [_side(condition, where, fusion, x) for x in comparison.operands[:2]]
    direction = hlo.attribute(comparison, "direction")
    match sides:
        case [("place", place), ("limit", limit)]:
            return _Test(direction, place, limit)
        case [("limit", limit), ("place", place)]:
            return _Test(_TURNED.get(direction, direction), place, limit)
    return None


def _side(
    condition: Computation, where: Computation, fusion: Instruction | None, name: str
) -> tuple[str, int] | None:
    """One side of a comparison: ("place", of the loop's tuple) or ("limit", n)."""
    for _ in range(_DEEPEST):
        here = where.by_name.get(name)
        if here is None:
            return None
        value = here.operands[0]
        if here.opcode == "constant":
            return ("limit", int(value)) if value.lstrip("-").isdigit() else None
        if here.opcode == "get-tuple-element" and where is condition:
            return "place", int(hlo.attribute(here, "index"))
        if here.opcode == "parameter" and fusion is not None and where is not condition:
            where, name = condition, fusion.operands[int(value)]
        elif here.opcode in _SAME:
            name = value
        else:
            return None
    return None


def _constant(computation: Computation, name: str) -> int | None:
    """The integer that a name stands for, if it is a constant."""
    here = computation.by_name.get(name)
    for _ in range(_DEEPEST):
        if here is None or here.opcode not in _SAME:
            break
        here = computation.by_name.get(here.operands[0])
    if here is None or here.opcode != "constant":
        return None
    value = here.operands[0]
    return int(value) if value.lstrip("-").isdigit() else None


def _step(
    module: Module, body: Computation, name: str, place: int, depth: int = 0
) -> int | None:
    """What one pass of the body adds to an element of the loop's tuple."""
    here = body.by_name.get(name)
    if here is None or depth > _DEEPEST:
        return None
    if here.opcode == "get-tuple-element":
        return 0 if hlo.attribute(here, "index") == str(place) else None
    if here.opcode in _SAME:
        return _step(module, body, here.operands[0], place, depth + 1)
    plain = here.opcode in ("add", "subtract")
    added = _added(body, here) if plain else _added_in_fusion(module, here)
    if added is None:
        return None
    before = _step(module, body, added[0], place, depth + 1)
    return None if before is None else before + added[1]


def _added(where: Computation, here: Instruction) -> tuple[str, int] | None:
    """(operand, constant added to it) of an addition or subtraction."""
    first, second = here.operands[:2]
    before, after = _constant(where, first), _constant(where, second)
    if after is not None:
        return first, after if here.opcode == "add" else -after
    if before is not None and here.opcode == "add":
        return second, before
    return None


def _added_in_fusion(module: Module, here: Instruction) -> tuple[str, int] | None:
    """The same of a fusion whose result is one of its operands plus a constant."""
    inner = module.computations.get(hlo.attribute(here, "calls"))
    if here.opcode != "fusion" or inner is None:
        return None
    root = next((i for i in inner.instructions if i.is_root), None)
    added = _added(inner, root) if root and root.opcode == "add" else None
    if added is None:
        return None
    operand = inner.by_name.get(added[0])
    if operand is None or operand.opcode != "parameter":
        return None
    return here.operands[int(operand.operands[0])], added[1]

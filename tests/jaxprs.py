"""What a traced function computes, for tests that count it."""

import collections
import math


def flops(jaxpr) -> int:
    """FLOPs of a jaxpr's dot_generals and ragged_dots, a scan's once an iteration."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            inner = math.prod(shape[axis] for axis in contracted)
            total += 2 * inner * math.prod(equation.outvars[0].aval.shape)
        if equation.primitive.name.startswith("ragged_dot"):
            total += 2 * equation.invars[0].aval.size * _columns(equation)
        times = equation.params.get("length", 1)
        total += times * sum(flops(inside) for inside in _inside(equation))
    return total


def _inside(equation) -> list:
    """The jaxprs that an equation runs."""
    found = [getattr(value, "jaxpr", value) for value in equation.params.values()]
    return [inside for inside in found if hasattr(inside, "eqns")]


def _columns(equation) -> int:
    """Numbers that a row of a ragged_dot's first matrix makes, by one expert's."""
    dims = equation.params["ragged_dot_dimension_numbers"]
    (_, contracted), _ = dims.dot_dimension_numbers
    shape = equation.invars[1].aval.shape
    others = {*contracted, *dims.rhs_group_dimensions}
    return math.prod(n for axis, n in enumerate(shape) if axis not in others)


def products(jaxpr) -> collections.Counter:
    """How often a jaxpr has dot_generals of operands of so many bits, (left, right)."""
    found = collections.Counter()
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            operands = [variable.aval.dtype.itemsize for variable in equation.invars]
            found[tuple(8 * size for size in operands)] += 1
        times = equation.params.get("length", 1)
        for inside in _inside(equation):
            for bits, count in products(inside).items():
                found[bits] += times * count
    return found


def count(jaxpr, name: str) -> int:
    """How often a jaxpr runs a primitive, a scan's once an iteration."""
    total = 0
    for equation in jaxpr.eqns:
        total += equation.primitive.name == name
        times = equation.params.get("length", 1)
        total += times * sum(count(inside, name) for inside in _inside(equation))
    return total

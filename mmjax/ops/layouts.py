"""How arrays lie in memory, where compilers would choose worse."""

from typing import Any

from jax.experimental import layout
from jaxtyping import Array


def in_order(x: Array) -> Array:
    """The array, with its first axis outermost in memory and its last innermost."""
    constrained: Any = layout.with_layout_constraint
    return constrained(x, layout.Layout(tuple(range(x.ndim))))

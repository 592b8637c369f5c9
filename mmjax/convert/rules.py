"""What tells our parameters in a checkpoint of another project, as data.

A `Rule` says which tensor of theirs a parameter of ours is (or is part of), and in
which `Form`. A form is read in both directions: import takes views of their tensors,
export puts ours back; `take(put(x))` is x, bit for bit.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Form(NamedTuple):
    """How one layer's parameter of ours and a tensor of theirs hold the same numbers.

    `shape` gives theirs from ours; `take` theirs as ours, of the shape given, a view
    wherever numpy has one; `put` ours as theirs.
    """

    shape: Callable[[Shape], Shape]
    take: Callable[[np.ndarray, Shape], np.ndarray]
    put: Callable[[np.ndarray], np.ndarray]


class Part(NamedTuple):
    """A slice of a tensor of theirs, which holds several of our parameters."""

    start: int
    total: int  # length of the whole axis
    axis: int = 0


class Rule(NamedTuple):
    """One parameter of ours."""

    ours: str  # its path
    theirs: str  # the tensor's name; {} is the layer
    form: Form
    layers: range | None = None  # of theirs, stacked on the first axis (L) of ours
    part: Part | None = None  # where it isn't a whole tensor of theirs
    grows: int | None = None  # the axis of ours that may be longer: the vocabulary

    def names(self) -> list[str]:
        """The tensors it reads: one, or one a layer."""
        if self.layers is None:
            return [self.theirs]
        return [self.theirs.format(layer) for layer in self.layers]


AS_IS = Form(lambda shape: shape, lambda theirs, shape: theirs, lambda ours: ours)


def linear(inputs: int = 1) -> Form:
    """Torch's [outputs, inputs] as our [*inputs, *outputs], so many axes the inputs."""

    def sides(shape: Shape) -> tuple[int, int]:
        return math.prod(shape[:inputs]), math.prod(shape[inputs:])

    return Form(
        lambda shape: sides(shape)[::-1],
        lambda theirs, shape: theirs.T.reshape(shape),
        lambda ours: ours.reshape(sides(ours.shape)).T,
    )


LINEAR, LINEAR_OUT = linear(1), linear(2)  # of the attention's output: [N, H, D]

# Biases of heads, [N, H] as one row.
FLAT = Form(
    lambda shape: (math.prod(shape),),
    lambda theirs, shape: theirs.reshape(shape),
    lambda ours: ours.reshape(-1),
)


def leading(axes: int) -> Form:
    """Theirs has so many axes of length 1 in front."""
    ones = (1,) * axes
    return Form(
        lambda shape: ones + shape,
        lambda theirs, shape: theirs.reshape(shape),
        lambda ours: ours.reshape(ones + ours.shape),
    )


def _side(shape: Shape) -> int:
    return math.isqrt(shape[0] // 3)


# A convolution [E, channels, rows, columns] as our linear layer on patches, whose
# numbers go by row, column and channel.
PATCHES = Form(
    lambda shape: (shape[1], 3, _side(shape), _side(shape)),
    lambda theirs, shape: theirs.transpose(2, 3, 1, 0).reshape(shape),
    lambda ours: ours.reshape(
        _side(ours.shape), _side(ours.shape), 3, ours.shape[1]
    ).transpose(3, 2, 0, 1),
)


def their_shape(rule: Rule, ours: Shape) -> Shape:
    """The shape of each tensor of theirs, whole, from that of our parameter."""
    shape = list(rule.form.shape(ours if rule.layers is None else ours[1:]))
    if rule.part is not None:
        shape[rule.part.axis] = rule.part.total
    return tuple(shape)


def their_growing_axis(rule: Rule, ours: Shape) -> int | None:
    """The axis of theirs that may be shorter than `their_shape` says."""
    if rule.grows is None:
        return None
    longer = list(ours)
    longer[rule.grows] += 1
    before, after = rule.form.shape(ours), rule.form.shape(tuple(longer))
    return next(i for i, (a, b) in enumerate(zip(before, after)) if a != b)


def under(prefix: str, rules: list[Rule]) -> list[Rule]:
    """The rules of a part inside a model whose names begin with `prefix`."""
    return [rule._replace(theirs=prefix + rule.theirs) for rule in rules]


def norm(ours: str, theirs: str, layers: range | None = None, bias: bool = False):
    """The rules of a norm: a scale, and a bias where it has one."""
    rules = [Rule(f"{ours}/scale", f"{theirs}.weight", AS_IS, layers)]
    if bias:
        rules.append(Rule(f"{ours}/bias", f"{theirs}.bias", AS_IS, layers))
    return rules


def dense(
    ours: str,
    theirs: str,
    layers: range | None = None,
    bias: bool = False,
    form: Form = LINEAR,
) -> list[Rule]:
    """The rules of a linear layer: a kernel, and a bias where it has one."""
    rules = [Rule(f"{ours}/kernel", f"{theirs}.weight", form, layers)]
    if bias:
        rules.append(Rule(f"{ours}/bias", f"{theirs}.bias", FLAT, layers))
    return rules

"""What a run holds before it starts: the table of parameters, and bytes per device."""

import math
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, PartitionSpec

from mmjax import optim, sharding, step
from mmjax.config import Config
from mmjax.models.vlm import Model


class Parameter(NamedTuple):
    """One row of the parameter table."""

    path: str
    shape: tuple[int, ...]
    numbers: int
    spec: PartitionSpec
    trainable: bool
    decayed: bool
    multiplier: float  # of the learning rate


def describe(model: Model, config: Config, mesh: Mesh) -> list[Parameter]:
    """The parameter table, in order of paths; nothing is computed."""
    params = step.abstract_state(model, config, mesh).params
    trainable = optim.flatten(optim.partition(params, config.optim.frozen)[0])
    return [
        Parameter(
            path=path,
            shape=leaf.shape,
            numbers=math.prod(leaf.shape),
            spec=leaf.sharding.spec,
            trainable=path in trainable,
            decayed=path in trainable and optim.decays(path),
            multiplier=optim.multiplier(path, step.lr_rules(config)),
        )
        for path, leaf in sorted(optim.flatten(params).items())
    ]


def memory(model: Model, config: Config, mesh: Mesh, capacity: int) -> dict[str, int]:
    """Bytes on one device of what a step holds throughout; activations come on top.

    `capacity` is C, the image slots of a group. Gradients are float32, as parameters.
    """
    state = step.abstract_state(model, config, mesh)
    trainable, _ = optim.partition(state.params, config.optim.frozen)
    shapes = sharding.batch_shapes(config, capacity)

    def total(tree: Any, placed: Any) -> int:
        sizes = jax.tree.map(
            lambda x, s: math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize,
            tree,
            placed,
        )
        return sum(jax.tree.leaves(sizes))

    def of(tree: Any) -> int:
        return total(tree, jax.tree.map(lambda x: x.sharding, tree))

    return {
        "parameters": of(state.params),
        "moments": of(state.opt_state),
        "gradients": of(step.as_moments(trainable, config, mesh)),
        "batch": total(shapes, sharding.batch_shardings(mesh)),
    }

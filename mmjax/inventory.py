"""What a run holds before it starts: the table of parameters, and bytes per device."""

import collections
import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from mmjax import objectives, optim, sharding, step
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


def kept(model: Model, config: Config, rows: int, slots: int) -> int:
    """Bytes that the forward pass of so many rows and image slots leaves the backward.

    All but parameters, of one device that computes them by itself; nothing is computed.
    """
    data = dataclasses.replace(config.data, rows_per_batch=rows, rows_per_pool=rows)
    alone = dataclasses.replace(config, data=data)
    objective = objectives.of(model, alone, len(data.sources))
    params = jax.eval_shape(model.init, jax.random.key(0))
    shapes = sharding.batch_shapes(alone, slots)

    def left(params: Any, batch: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            drawn = objective.draw(batch, jnp.zeros((), jnp.int32))
            return objective.sums(params, batch, drawn).loss_S.sum()

        return jax.vjp(loss, params)[1]  # its leaves are what it has kept

    given = collections.Counter((x.shape, x.dtype) for x in jax.tree.leaves(params))
    total = 0
    for array in jax.tree.leaves(jax.eval_shape(left, params, shapes)):
        key = array.shape, array.dtype
        given[key] -= 1
        total += 0 if given[key] >= 0 else array.size * array.dtype.itemsize
    return total

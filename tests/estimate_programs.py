"""Compiles small sharded programs for a TPU that isn't there, and dumps them.

`python estimate_programs.py GENERATION:SIZES` in the environment of the compiler.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

LAYERS, ROWS, WIDTH, HIDDEN = 3, 1024, 1024, 2048


def loss(weights, x_RD):
    """A residual stack of MLPs whose weights are gathered layer by layer."""

    def layer(x_RD, pair):
        up_DF, down_FD = (w.astype(jnp.bfloat16) for w in pair)
        return x_RD + jnp.tanh(x_RD @ up_DF) @ down_FD, None

    with jax.named_scope("decoder"):
        x_RD, _ = jax.lax.scan(jax.checkpoint(layer), x_RD, weights)
    return jnp.square(x_RD.astype(jnp.float32)).mean()


def train_step(weights, x_RD):
    grads = jax.grad(loss)(weights, x_RD)
    return jax.tree.map(lambda w, g: w - 0.1 * g, weights, grads)


def main(name: str) -> None:
    devices = topologies.get_topology_desc(
        platform="tpu", topology_name=name, wrap=(False, False, False)
    ).devices
    mesh = Mesh(np.array(devices).reshape(-1), ("fsdp",))

    def placed(shape, *spec, dtype=jnp.float32):
        where = NamedSharding(mesh, PartitionSpec(*spec))
        return jax.ShapeDtypeStruct(shape, dtype, sharding=where)

    weights = (
        placed((LAYERS, WIDTH, HIDDEN), None, "fsdp"),
        placed((LAYERS, HIDDEN, WIDTH), None, "fsdp"),
    )
    x_RD = placed((ROWS * len(devices), WIDTH), "fsdp", dtype=jnp.bfloat16)
    jax.jit(train_step).lower(weights, x_RD).compile()


if __name__ == "__main__":
    main(sys.argv[1])

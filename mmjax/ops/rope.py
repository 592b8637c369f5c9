"""Rotary positions: queries and keys are turned by angles that grow with position."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Rotation(NamedTuple):
    """Cosines and sines of the angles, one for each pair of a head's numbers."""

    cos: Float[Array, "*rows T half"]
    sin: Float[Array, "*rows T half"]


def rotation(
    positions: Int[Array, "*rows T"], head_size: int, theta: float
) -> Rotation:
    """Angles position * theta ** (-2 i / head_size), in float32.

    Su et al., arXiv 2104.09864.
    """
    exponents = jnp.arange(head_size // 2, dtype=jnp.float32) * (-2 / head_size)
    angles = positions[..., None].astype(jnp.float32) * theta**exponents
    return Rotation(jnp.cos(angles), jnp.sin(angles))


def rotate(
    x: Float[Array, "*rows T N H"], turn: Rotation
) -> Float[Array, "*rows T N H"]:
    """Turns each pair (x[i], x[i + H / 2]) of every head by its position's angle.

    The product of a query and a key then depends on their distance only.
    """
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = turn.cos[..., None, :], turn.sin[..., None, :]
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)

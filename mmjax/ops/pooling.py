"""Adaptive average pooling: a grid becomes one of any other side."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32


def windows(size: int, places: int) -> Float32[np.ndarray, "{places} {size}"]:
    """Which of `size` entries each of `places` means is of: ones and zeros.

    As PyTorch's AdaptiveAvgPool: mean i takes floor(i size / places) to
    ceil((i + 1) size / places), so windows overlap where the sizes don't divide.
    """
    place = np.arange(places)
    start, stop = place * size // places, -(-(place + 1) * size // places)
    entry = np.arange(size)
    inside = (entry >= start[:, None]) & (entry < stop[:, None])
    return inside.astype(np.float32)


def adaptive_average(
    x: Float[Array, "Z C rows columns E"], side: int
) -> Float[Array, "Z C {side} {side} E"]:
    """Means over the windows of a side x side grid, summed in float32.

    A matrix product a direction: rows, then columns.
    """
    x = _means("mp,ZCpqE->ZCmqE", x, 2, side)
    return _means("mq,ZCpqE->ZCpmE", x, 3, side)


def _means(equation: str, x: Array, axis: int, places: int) -> Array:
    """Means over the windows of one axis."""
    inside = windows(x.shape[axis], places)
    total = jnp.einsum(
        equation, inside.astype(x.dtype), x, preferred_element_type=jnp.float32
    )
    shape = [places if place == axis else 1 for place in range(x.ndim)]
    return (total / inside.sum(axis=1).reshape(shape)).astype(x.dtype)

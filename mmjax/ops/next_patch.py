"""AIM's task: patches in reading order, each predicted from those before it.

El-Nouby et al., arXiv 2401.08541, section 3: the first patches of an image, a random
number of them, are a prefix that all see and that isn't predicted.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

EPSILON = 1e-6  # added to the variance of a patch's pixels


def prefixes(
    key: PRNGKeyArray, slots: tuple[int, int], patches: int
) -> Int[Array, "Z C"]:
    """The prefix of each image slot [Z, C]: 1 to P - 1 patches, all alike likely.

    A slot's number in the batch is folded into the key, so the mesh doesn't matter.
    """
    number_I = jnp.arange(slots[0] * slots[1])
    keys_I = jax.vmap(jax.random.fold_in, (None, 0))(key, number_I)
    draw = jax.vmap(lambda key: jax.random.randint(key, (), 1, patches))
    return draw(keys_I).reshape(slots)


def predicted(
    prefix_ZC: Int[Array, "Z C"], real_ZC: Bool[Array, "Z C"], patches: int
) -> Bool[Array, "Z C P2"]:
    """Which of the patches 1, 2, ..., P - 1 of each image count."""
    return (jnp.arange(1, patches) >= prefix_ZC[..., None]) & real_ZC[..., None]


def squared_errors(
    predicted_ZCPp: Float[Array, "Z C P2 p"], patches_ZCPp: Float[Array, "Z C P p"]
) -> Float[Array, "Z C P2"]:
    """Mean squared error of the patches 1, 2, ..., P - 1 as predicted, in float32.

    A patch's target is its numbers less their mean, over their standard deviation (He
    et al., arXiv 2111.06377, section 3).
    """
    target = patches_ZCPp[:, :, 1:].astype(jnp.float32)
    target -= target.mean(axis=-1, keepdims=True)
    variance = jnp.mean(target * target, axis=-1, keepdims=True)
    target *= jax.lax.rsqrt(variance + EPSILON)
    return jnp.mean(jnp.square(predicted_ZCPp.astype(jnp.float32) - target), axis=-1)

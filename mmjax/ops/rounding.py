"""Rounds float32 to bfloat16 by chance, right on average."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, BFloat16, Float32, PRNGKeyArray


def stochastic(
    x: Float32[Array, "*axes"], key: PRNGKeyArray
) -> BFloat16[Array, "*axes"]:
    """Each number becomes one of its two neighbours, the nearer one more often.

    The expected value is x itself. What is not finite stays so.
    """
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) + noise
    # bfloat16 is the upper half of a float32: what the noise carries into it counts.
    upper = (bits >> 16).astype(jnp.uint16)
    rounded = jax.lax.bitcast_convert_type(upper, jnp.bfloat16)
    return jnp.where(jnp.isfinite(x), rounded, x.astype(jnp.bfloat16))

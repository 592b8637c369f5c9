"""What is done to each position alone: norms and activations."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def layer_norm(
    x: Float[Array, "*axes D"],
    scale_D: Float[Array, "D"],
    bias_D: Float[Array, "D"],
    eps: float,
) -> Float[Array, "*axes D"]:
    """Layer normalization over the last axis; statistics in float32."""
    x32 = x.astype(jnp.float32)
    mean = jnp.mean(x32, axis=-1, keepdims=True)
    centred = x32 - mean
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    normed = centred * jax.lax.rsqrt(variance + eps)
    return (normed * scale_D + bias_D).astype(x.dtype)


def rms_norm(
    x: Float[Array, "*axes D"], scale_D: Float[Array, "D"], eps: float
) -> Float[Array, "*axes D"]:
    """Root-mean-square normalization over the last axis; statistics in float32.

    Zhang and Sennrich, arXiv 1910.07467.
    """
    x32 = x.astype(jnp.float32)
    square = jnp.mean(x32 * x32, axis=-1, keepdims=True)
    return (x32 * jax.lax.rsqrt(square + eps) * scale_D).astype(x.dtype)


def gelu(x: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """x times the normal distribution function of x, exactly (no tanh)."""
    return jax.nn.gelu(x, approximate=False)


def gelu_tanh(x: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """gelu by its tanh approximation, SigLIP's and Gemma's."""
    return jax.nn.gelu(x, approximate=True)


def quick_gelu(x: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """x sigmoid(1.702 x), the activation of OpenAI's and DFN's CLIP."""
    return x * jax.nn.sigmoid(1.702 * x)


def softcapped(x: Float[Array, "*axes"], cap: float) -> Float[Array, "*axes"]:
    """cap tanh(x / cap), as Gemma 2 (arXiv 2408.00118); x itself where cap is 0."""
    return cap * jnp.tanh(x / cap) if cap else x


def swiglu(
    gate: Float[Array, "*axes F"], up: Float[Array, "*axes F"]
) -> Float[Array, "*axes F"]:
    """silu(gate) * up (Shazeer, arXiv 2002.05202)."""
    return jax.nn.silu(gate) * up


def geglu(
    gate: Float[Array, "*axes F"], up: Float[Array, "*axes F"]
) -> Float[Array, "*axes F"]:
    """gelu(gate) * up, with the tanh in place of the normal distribution function."""
    return gelu_tanh(gate) * up


ACTIVATIONS: dict[str, Callable] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "silu": jax.nn.silu,
}
GATES: dict[str, Callable] = {"gelu_tanh": geglu, "silu": swiglu}

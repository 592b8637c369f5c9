"""What is done to each position alone: norms and activations."""

import functools
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
    """Layer normalization over the last axis; statistics in float32.

    Both come from one pass over x, which compilers join to what makes it: a second
    pass, over what is centred, would read it from memory once more. The deviation is
    right to 1e-7 (1 + mean**2 / variance) of itself.
    """
    x32 = x.astype(jnp.float32)
    mean = jnp.mean(x32, axis=-1, keepdims=True)
    square = jnp.mean(x32 * x32, axis=-1, keepdims=True)
    variance = jnp.maximum(square - mean * mean, 0)
    normed = (x32 - mean) * jax.lax.rsqrt(variance + eps)
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


@jax.custom_vjp
def add_bias(y: Float[Array, "*axes"], bias: Float[Array, "..."]) -> Array:
    """y + bias, over the last axes; the bias's gradient is a product with ones.

    Of what a TPU's kernel reads, the sum that XLA makes takes 3 times as long.
    """
    return y + bias.astype(y.dtype)


def _add_bias_forward(y, bias):
    return y + bias.astype(y.dtype), bias


def _add_bias_backward(bias, d_y):
    axes = tuple(range(d_y.ndim - bias.ndim))
    # Rows of a register, behind a barrier: of one row, or of ones that it sees, XLA
    # makes a sum after all.
    ones = jnp.ones((8, *d_y.shape[: len(axes)]), d_y.dtype)
    rows = jax.lax.dot_general(
        jax.lax.optimization_barrier(ones),
        d_y,
        ((tuple(axis + 1 for axis in axes), axes), ((), ())),
        preferred_element_type=jnp.float32,
    )
    return d_y, rows[0].astype(bias.dtype)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


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


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def gated(
    activation: Callable, gate: Float[Array, "*axes F"], up: Float[Array, "*axes F"]
) -> Float[Array, "*axes F"]:
    """activation(gate) * up (Shazeer, arXiv 2002.05202).

    Both gradients are made in one pass, and once: each is read by two products, into
    one of which XLA for TPUs would compute it again, which halves the product's speed.
    """
    return activation(gate) * up


def _gated_forward(activation, gate, up):
    return activation(gate) * up, (gate, up)


def _gated_backward(activation, residuals, d_out):
    _, pull = jax.vjp(lambda gate, up: activation(gate) * up, *residuals)
    return jax.lax.optimization_barrier(pull(d_out))


gated.defvjp(_gated_forward, _gated_backward)


ACTIVATIONS: dict[str, Callable] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "silu": jax.nn.silu,
}
GATES: dict[str, Callable] = {  # (gate, up) -> what goes down
    name: functools.partial(gated, ACTIVATIONS[name]) for name in ("gelu_tanh", "silu")
}

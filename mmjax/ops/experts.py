"""The gated MLPs of experts: products of runs of tokens with the kernels of each."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Float32

from mmjax.ops import moe
from mmjax.ops.moe import Routes

BLOCK = 128  # slots that the blocked backend multiplies at a time, at most

Activate = Callable[[Array, Array], Array]  # of the gate and of what it lets through


class Kernels(NamedTuple):
    """The gated MLPs of some experts."""

    gate_XDF: Float[Array, "X D F"]
    up_XDF: Float[Array, "X D F"]
    down_XFD: Float[Array, "X F D"]


def dropless(
    x_JD: Float[Array, "J D"],
    routes: Routes,
    real_J: Bool[Array, " J"],
    kernels: Kernels,
    activate: Activate,
    backend: str,
) -> Float32[Array, "J D"]:
    """The outputs of experts 0 to X - 1 for all choices of them, weighted and summed.

    `kernels` are of X experts; what a token chose beyond them adds nothing. `backend`
    is a key of BACKENDS.
    """
    experts, choices = kernels.gate_XDF.shape[0], routes.expert.size
    align, multiply = BACKENDS[backend]
    block = max(1, min(align, choices // experts))
    slots = moe.places(routes.expert, real_J, experts, 0, block)
    x_MD = moe.dispatch(x_JD, slots)
    multiply = functools.partial(multiply, block=block)
    gate_MF = multiply(x_MD, kernels.gate_XDF, slots.runs_X)
    up_MF = multiply(x_MD, kernels.up_XDF, slots.runs_X)
    hidden_MF = activate(*_named(gate_MF, up_MF))
    y_MD = multiply(hidden_MF, kernels.down_XFD, slots.runs_X)
    return moe.combine(y_MD, slots, routes.weight)


def within_capacity(
    x_XMD: Float[Array, "X M D"],
    kernels: Kernels,
    activate: Activate,
) -> Float[Array, "X M D"]:
    """The outputs of each expert for the slots of its buffer."""
    gate_XMF = jnp.einsum("XMD,XDF->XMF", x_XMD, kernels.gate_XDF)
    up_XMF = jnp.einsum("XMD,XDF->XMF", x_XMD, kernels.up_XDF)
    hidden_XMF = activate(*_named(gate_XMF, up_XMF))
    return jnp.einsum("XMF,XFD->XMD", hidden_XMF, kernels.down_XFD)


def _named(gate: Array, up: Array) -> tuple[Array, Array]:
    """As other MLPs name them for the backward pass."""
    return checkpoint_name(gate, "gate"), checkpoint_name(up, "up")


def _ragged(x_MD, kernel_XDF, runs_X, block):
    """An instruction of TPUs and GPUs; CPUs multiply each row by every expert."""
    del block
    return jax.lax.ragged_dot(x_MD, kernel_XDF, runs_X)


# The blocked backend takes a block of slots at a time, all of one expert, since runs
# are whole blocks: what is multiplied in vain is the padding of each run.


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _blocked(x_MD, kernel_XDF, runs_X, block):
    def one(_, part):
        x_bD, expert = part
        return None, x_bD @ kernel_XDF[expert]

    return _scan_blocks(one, None, (x_MD,), kernel_XDF, runs_X, block)[1]


def _scan_blocks(body, carry, arrays, kernel_XDF, runs_X, block):
    """Scans over blocks of slots and their experts; outputs are joined again."""
    starts = jnp.arange(arrays[0].shape[0] // block) * block
    ends_X = jnp.cumsum(runs_X)
    expert = jnp.searchsorted(ends_X, starts, side="right")
    expert = jnp.minimum(expert, kernel_XDF.shape[0] - 1)  # blocks beyond all: zeros
    parts = tuple(x.reshape(-1, block, x.shape[-1]) for x in arrays)
    carry, out = jax.lax.scan(body, carry, (*parts, expert))
    return carry, out.reshape(-1, out.shape[-1])


def _blocked_forward(x_MD, kernel_XDF, runs_X, block):
    out = _blocked(x_MD, kernel_XDF, runs_X, block)
    return out, (x_MD, kernel_XDF, runs_X)


def _blocked_backward(block, residuals, d_MF):
    x_MD, kernel_XDF, runs_X = residuals

    def one(d_kernel_XDF, part):
        x_bD, d_bF, expert = part
        d_kernel = jnp.dot(x_bD.T, d_bF, preferred_element_type=jnp.float32)
        return d_kernel_XDF.at[expert].add(d_kernel), d_bF @ kernel_XDF[expert].T

    # Within `jax.shard_map` what is carried must vary over the mesh from the start: so
    # these zeros (false times 0, whatever the numbers are) come of the arrays.
    zero = sum(0.0 * jnp.isnan(x[(0,) * x.ndim]) for x in (x_MD, d_MF, kernel_XDF))
    zeros = jnp.full(kernel_XDF.shape, zero, jnp.float32)
    arrays = (x_MD, d_MF)
    d_kernel_XDF, d_x_MD = _scan_blocks(one, zeros, arrays, kernel_XDF, runs_X, block)
    return d_x_MD, d_kernel_XDF.astype(kernel_XDF.dtype), None


_blocked.defvjp(_blocked_forward, _blocked_backward)

# (slots that a run is a multiple of, at most; its products with the experts' kernels).
BACKENDS: dict[str, tuple[int, Callable]] = {
    "blocked": (BLOCK, _blocked),
    "ragged_dot": (1, _ragged),
}

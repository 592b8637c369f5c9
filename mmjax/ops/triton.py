"""Attention by jax's flash kernel for GPUs, which never writes scores to memory.

It is written in Pallas for Triton, which jax 0.11 still has, and calls deprecated.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from mmjax.ops import padding

BLOCK = 128  # tokens of the kernel's blocks, which rows must be multiples of
RESIDUALS = "attention"  # name of what the backward kernel needs of the forward one


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BSKH: Float[Array, "B S K H"],
    v_BSKH: Float[Array, "B S K H"],
    segments_BT: Int[Array, "B T"] | None,
    causal: bool,
    scale: float,
    interpret: bool = False,
) -> Float[Array, "B T N H"]:
    """`mmjax.ops.attention.attend` of positions among themselves, on one device.

    Rows that are no multiple of BLOCK are padded here, which costs copies: callers
    whose rows are longer than they need to be save those. `interpret` runs the kernel
    without a GPU, slowly.
    """
    rows, tokens, heads, size = q_BTNH.shape
    groups = k_BSKH.shape[2]
    if k_BSKH.shape[1] != tokens:
        raise ValueError(
            f"{k_BSKH.shape[1]} keys for {tokens} queries: the triton backend is of "
            "positions among themselves"
        )
    more = -tokens % BLOCK
    segments_BT = padding.segments(segments_BT, rows, tokens, more)
    q, k, v = (
        jnp.pad(x, ((0, 0), (0, more), (0, 0), (0, 0)))
        for x in (q_BTNH, k_BSKH, v_BSKH)
    )
    q_BTKGH = q.reshape(rows, tokens + more, groups, heads // groups, size)
    out_BTKGH: Any = _attend(q_BTKGH, k, v, segments_BT, causal, scale, interpret)
    return out_BTKGH.reshape(q.shape)[:, :tokens]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _attend(q_BTKGH, k_BSKH, v_BSKH, segments_BT, causal, scale, interpret):
    """The kernel knows as many key heads as query heads, hence one call a group."""
    return _forward(q_BTKGH, k_BSKH, v_BSKH, segments_BT, causal, scale, interpret)[0]


def _forward(q_BTKGH, k_BSKH, v_BSKH, segments_BT, causal, scale, interpret):
    mha, rest = _library(), _rest(scale, causal, interpret)

    def of_group(q_BTKH):
        _, residuals = mha.fwd(q_BTKH, k_BSKH, v_BSKH, segments_BT, *rest)
        return residuals[4:]

    # What vmap maps becomes one more axis of the kernel's grid: keys aren't repeated.
    out_BTKGH, log_GBKT = jax.vmap(of_group, in_axes=3, out_axes=(3, 0))(q_BTKGH)
    out_BTKGH = checkpoint_name(out_BTKGH, RESIDUALS)
    log_GBKT = checkpoint_name(log_GBKT, RESIDUALS)
    return out_BTKGH, (q_BTKGH, k_BSKH, v_BSKH, segments_BT, out_BTKGH, log_GBKT)


def _backward(causal, scale, interpret, residuals, d_out_BTKGH):
    q_BTKGH, k_BSKH, v_BSKH, segments_BT, out_BTKGH, log_GBKT = residuals
    mha, rest = _library(), _rest(scale, causal, interpret)

    def of_group(q_BTKH, out_BTKH, log_BKT, d_out_BTKH):
        kept = (q_BTKH, k_BSKH, v_BSKH, segments_BT, out_BTKH, log_BKT)
        return mha.bwd(*rest, kept, d_out_BTKH)[:3]

    d_q_BTKGH, d_k_GBSKH, d_v_GBSKH = jax.vmap(
        of_group, in_axes=(3, 3, 0, 3), out_axes=(3, 0, 0)
    )(q_BTKGH, out_BTKGH, log_GBKT, d_out_BTKGH)
    d_k_BSKH, d_v_BSKH = (
        jnp.sum(x, axis=0, dtype=jnp.float32).astype(x.dtype)
        for x in (d_k_GBSKH, d_v_GBSKH)
    )
    return d_q_BTKGH, d_k_BSKH, d_v_BSKH, None


_attend.defvjp(_forward, _backward)


def _rest(scale: float, causal: bool, interpret: bool) -> tuple[Any, ...]:
    """The kernel's arguments behind the arrays; blocks are those it has by itself."""
    from jax.experimental.pallas.ops.gpu import attention

    blocks = attention.BlockSizes.get_default()
    # In its order: how it goes backward, warps, stages, grid, ..., debug, residuals.
    return scale, causal, blocks, "triton", None, 2, None, interpret, False, False


def _library() -> Any:
    """jax's kernel, which only GPUs need; its two passes are called by themselves."""
    from jax.experimental.pallas.ops.gpu import attention

    return attention.mha

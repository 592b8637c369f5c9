"""Attention by jax's splash kernel for TPUs, which never writes scores to memory."""

import functools
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mmjax.ops import additions

LANES = 128  # numbers side by side in a TPU's registers
SUBLANES = 16  # rows of a register, of two bytes a number
RESIDUALS = "attention"  # name of what the backward kernel needs of the forward one
_PADDING = -1  # segment of what is added to a row


class Blocks(NamedTuple):
    """Tokens of a block: multiples of LANES, cut to what divides the row."""

    queries: int = 1024
    keys: int = 1024
    keys_at_once: int = 512  # that a block of queries is multiplied with


DEFAULT = Blocks()


class Mask(NamedTuple):
    """What every row hides, and how scores are capped."""

    causal: bool
    window: int  # 0: no limit
    softcap: float  # 0: none


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BSKH: Float[Array, "B S K H"],
    v_BSKH: Float[Array, "B S K H"],
    segments_BT: Int[Array, "B T"] | None,
    mask: Mask,
    scale: float,
    blocks: Blocks,
    interpret: bool = False,
) -> Float[Array, "B T N H"]:
    """`mmjax.ops.attention.attend` of positions among themselves, on one device.

    Rows that are no multiple of LANES are padded here, which costs copies: callers
    whose rows are longer than they need to be save those. `interpret` runs the kernel
    without a TPU, slowly.
    """
    tokens, _, size = q_BTNH.shape[1:]
    if k_BSKH.shape[1] != tokens:
        raise ValueError(
            f"{k_BSKH.shape[1]} keys for {tokens} queries: the splash backend is of "
            "positions among themselves"
        )
    more = -tokens % LANES
    if more and segments_BT is None:
        segments_BT = jnp.zeros(q_BTNH.shape[:2], jnp.int32)
    if segments_BT is not None:
        segments_BT = jnp.pad(
            segments_BT, ((0, 0), (0, more)), constant_values=_PADDING
        )
    widths = ((0, 0), (0, more), (0, 0), (0, -size % SUBLANES))
    q, k, v = (
        jnp.pad(x, widths).swapaxes(1, 2) for x in (q_BTNH * scale, k_BSKH, v_BSKH)
    )
    kernel = _kernel(q.shape[1:], mask, blocks, interpret)
    out_BNTH = jax.vmap(functools.partial(_attend_row, kernel))(q, k, v, segments_BT)
    return out_BNTH.swapaxes(1, 2)[:, :tokens, :, :size]


def _of_row(kernel, q_NTH, k_KTH, v_KTH, segments_T) -> Float[Array, "N T H"]:
    segments = None
    if segments_T is not None:
        segments = _library()[0].SegmentIds(segments_T, segments_T)
    return kernel(q_NTH, k_KTH, v_KTH, segment_ids=segments)


def _of_row_forward(kernel, q_NTH, k_KTH, v_KTH, segments_T):
    def attended(q_NTH, k_KTH, v_KTH):
        return _of_row(kernel, q_NTH, k_KTH, v_KTH, segments_T)

    return jax.vjp(attended, q_NTH, k_KTH, v_KTH)


def _of_row_backward(kernel, pull, d_out_NTH):
    # Each block of keys leaves its part of the queries' gradients, and these are added.
    del kernel
    return *additions.of(pull)(d_out_NTH), None


_attend_row = jax.custom_vjp(_of_row, nondiff_argnums=(0,))
_attend_row.defvjp(_of_row_forward, _of_row_backward)


@functools.lru_cache(maxsize=32)
def _kernel(
    shape: tuple[int, int, int], mask: Mask, blocks: Blocks, interpret: bool
) -> Any:
    """The kernel of queries [N, T, H]; its tables of blocks are numpy arrays."""
    (heads, tokens, size), (kernels, masks) = shape, _library()
    queries, keys = _fit(blocks.queries, tokens), _fit(blocks.keys, tokens)
    at_once = _fit(blocks.keys_at_once, keys)
    # Heads of 80 numbers would leave lanes empty, in q, k, v and in the products that
    # make them; with tokens side by side there is no gap.
    layouts = kernels.QKVLayout
    layout = layouts.SEQ_MINOR if size % LANES else layouts.HEAD_DIM_MINOR
    sizes = kernels.BlockSizes(
        block_q=queries,
        block_kv=keys,
        block_kv_compute=at_once,
        block_q_dkv=queries,
        block_kv_dkv=keys,
        block_kv_dkv_compute=at_once,
        use_fused_bwd_kernel=True,
        q_layout=layout,
        k_layout=layout,
        v_layout=layout,
    )
    hidden = masks.MultiHeadMask([_mask(masks, tokens, mask) for _ in range(heads)])
    # Not within the caller's traces, of scans and of gradients, which would hold these.
    with jax.core.eval_context():
        kernel = kernels.make_splash_mha(
            hidden,
            block_sizes=sizes,
            head_shards=1,
            q_seq_shards=1,
            attn_logits_soft_cap=mask.softcap or None,
            residual_checkpoint_name=RESIDUALS,
            interpret=interpret,
        )
        return jax.tree.map(np.asarray, kernel)


def _fit(block: int, tokens: int) -> int:
    """The largest multiple of LANES that divides `tokens` and is within the block."""
    tiles = range(min(block, tokens) // LANES, 0, -1)
    return next(LANES * n for n in tiles if tokens % (LANES * n) == 0)


def _mask(masks: Any, tokens: int, mask: Mask) -> Any:
    shape = (tokens, tokens)
    if mask.window:
        return masks.LocalMask(
            shape, (mask.window - 1, 0 if mask.causal else None), offset=0
        )
    return masks.CausalMask(shape) if mask.causal else masks.FullMask(shape)


def _library() -> tuple[Any, Any]:
    """jax's modules of kernels and masks, 0.3 s to import, which CPUs don't need."""
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel,
        splash_attention_mask,
    )

    return splash_attention_kernel, splash_attention_mask

"""Attention by jax's splash kernel for TPUs, which never writes scores to memory."""

import functools
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mmjax.ops import additions, padding

LANES = 128  # numbers side by side in a TPU's registers
SUBLANES = 16  # rows of a register, of two bytes a number
RESIDUALS = "attention"  # name of what the backward kernel needs of the forward one


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
    segments_BS: Int[Array, "B S"] | None = None,
    part: Int[Array, ""] | None = None,
    parts: int = 1,
    interpret: bool = False,
) -> Float[Array, "B T N H"]:
    """`mmjax.ops.attention.attend` of positions among themselves, on one device.

    Rows that are no multiple of LANES are padded here, which costs copies: callers
    whose rows are longer than they need to be save those. With a `part` of `parts`
    (`visibility.Spread`) those must be a multiple of 2 * LANES. `interpret` runs the
    kernel without a TPU, slowly.
    """
    rows, tokens, _, size = q_BTNH.shape
    if k_BSKH.shape[1] != tokens * parts:
        raise ValueError(
            f"{k_BSKH.shape[1]} keys for {tokens} queries: the splash backend is of "
            "positions among themselves"
        )
    if parts > 1 and tokens % (2 * LANES):
        raise ValueError(
            f"{tokens} of a row's tokens: must be a multiple of {2 * LANES} for the "
            "splash backend"
        )
    more = -tokens % LANES
    segments_BT = padding.segments(segments_BT, rows, tokens, more)
    if segments_BT is not None:
        segments_BS = segments_BT if part is None else segments_BS
    widths = ((0, 0), (0, more), (0, 0), (0, -size % SUBLANES))
    q, k, v = (
        jnp.pad(x, widths).swapaxes(1, 2) for x in (q_BTNH * scale, k_BSKH, v_BSKH)
    )
    shape = q.shape[1], k.shape[2], q.shape[3]
    kernel = _kernel(shape, mask, blocks, parts, interpret)
    if part is not None:
        kernel = _of_part(kernel, part, parts)
    of_row = functools.partial(_attend_row, kernel)
    out_BNTH = jax.vmap(of_row)(q, k, v, segments_BT, segments_BS)
    return out_BNTH.swapaxes(1, 2)[:, :tokens, :, :size]


def _of_row(
    kernel, q_NTH, k_KSH, v_KSH, segments_T, segments_S
) -> Float[Array, "N T H"]:
    segments = None
    if segments_T is not None:
        segments = _library()[0].SegmentIds(segments_T, segments_S)
    return kernel(q_NTH, k_KSH, v_KSH, segment_ids=segments)


def _of_row_forward(kernel, q_NTH, k_KSH, v_KSH, segments_T, segments_S):
    def attended(q_NTH, k_KSH, v_KSH):
        return _of_row(kernel, q_NTH, k_KSH, v_KSH, segments_T, segments_S)

    return jax.vjp(attended, q_NTH, k_KSH, v_KSH)


def _of_row_backward(pull, d_out_NTH):
    # Each block of keys leaves its part of the queries' gradients, and these are added:
    # once, which is what the barrier is for, and not again in each of their readers.
    d_q_NTH, d_k_KSH, d_v_KSH = additions.of(pull)(d_out_NTH)
    d_q_NTH = jax.lax.optimization_barrier(d_q_NTH)
    return None, d_q_NTH, d_k_KSH, d_v_KSH, None, None


_attend_row = jax.custom_vjp(_of_row)
_attend_row.defvjp(_of_row_forward, _of_row_backward)


@functools.lru_cache(maxsize=32)
def _kernel(
    shape: tuple[int, int, int],
    mask: Mask,
    blocks: Blocks,
    parts: int,
    interpret: bool,
) -> Any:
    """The kernel of whole rows [N, S, H]; its tables of blocks are numpy arrays.

    Queries of several parts stand in it one part after the other.
    """
    (heads, tokens, size), (kernels, masks) = shape, _library()
    piece = tokens if parts == 1 else tokens // (2 * parts)
    queries, keys = _fit(blocks.queries, piece), _fit(blocks.keys, tokens)
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
    hidden = masks.MultiHeadMask([_mask(masks, tokens, mask, parts)] * heads)
    # Not within the caller's traces, of scans and of gradients, which would hold these.
    with jax.core.eval_context():
        kernel = kernels.make_splash_mha(
            hidden,
            block_sizes=sizes,
            head_shards=1,
            q_seq_shards=parts,
            attn_logits_soft_cap=mask.softcap or None,
            residual_checkpoint_name=RESIDUALS,
            interpret=interpret,
        )
        return jax.tree.map(np.asarray, kernel)


def _fit(block: int, tokens: int) -> int:
    """The largest multiple of LANES that divides `tokens` and is within the block."""
    tiles = range(min(block, tokens) // LANES, 0, -1)
    return next(LANES * n for n in tiles if tokens % (LANES * n) == 0)


def _of_part(kernel: Any, part: Int[Array, ""], parts: int) -> Any:
    """The kernel with the tables of one part of its queries."""

    def cut(table: np.ndarray) -> Array:
        # [heads, blocks of queries, blocks of keys], or [T]
        axis = 1 if table.ndim == 3 else 0
        size = table.shape[axis] // parts
        return jax.lax.dynamic_slice_in_dim(table, part * size, size, axis)

    return jax.tree.map(cut, kernel)


def _mask(masks: Any, tokens: int, mask: Mask, parts: int) -> Any:
    shape = (tokens, tokens)
    if mask.window:
        made = masks.LocalMask(
            shape, (mask.window - 1, 0 if mask.causal else None), offset=0
        )
    elif mask.causal:
        made = masks.CausalMask(shape)
    else:
        return masks.FullMask(shape)
    if parts > 1:  # where queries stand in the row
        places = np.arange(tokens, dtype=np.int32).reshape(2 * parts, -1)
        order = [(part, 2 * parts - 1 - part) for part in range(parts)]
        made.q_sequence = places[order].reshape(-1)
    return made


def _library() -> tuple[Any, Any]:
    """jax's modules of kernels and masks, 0.3 s to import, which CPUs don't need."""
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel,
        splash_attention_mask,
    )

    return splash_attention_kernel, splash_attention_mask

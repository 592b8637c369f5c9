"""Attention within documents: every backend honours causality and segments alike."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

MASKED = -1e30  # a score that softmax turns into an exact zero, and never into NaN


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BSKH: Float[Array, "B S K H"],
    v_BSKH: Float[Array, "B S K H"],
    segments_BT: Int[Array, "B T"] | None,
    causal: bool,
    backend: str,
    block: int,
    prefix_B: Int[Array, "B"] | None = None,
) -> Float[Array, "B T N H"]:
    """Softmax attention with scores scaled by H ** -0.5, in the dtype of the queries.

    Query head n reads key-value head n // (N / K). With `segments` (then T = S) a
    position sees its own segment only; with `causal`, only positions up to itself.
    With `causal`, the first `prefix_B` positions of a row are seen by all of its
    segment: attention goes both ways inside the prefix (AIM, arXiv 2401.08541, 3.2).
    Padding is a segment like any other, so no row of scores is ever wholly masked.
    `backend` is a key of BACKENDS; `block` is the queries that the blocked one takes at
    a time.
    """
    rows, tokens, heads, size = q_BTNH.shape
    groups = k_BSKH.shape[2]
    q_BTKGH = q_BTNH.reshape(rows, tokens, groups, heads // groups, size)
    masks = (segments_BT, prefix_B)
    out_BTKGH = BACKENDS[backend](q_BTKGH, k_BSKH, v_BSKH, masks, causal, block)
    return out_BTKGH.reshape(q_BTNH.shape)


# Segments of positions and the length of each row's prefix, where there are any.
Masks = tuple[Int[Array, "B T"] | None, Int[Array, "B"] | None]


def _visible(
    masks: Masks,
    causal: bool,
    queries: tuple[int, int],
    keys: int,
) -> Bool[Array, "#B 1 1 t s"] | None:
    """Which of the first `keys` keys the queries of a range [start, stop) may see."""
    segments_BT, prefix_B = masks
    visible = None
    if causal:
        order = jnp.arange(*queries)[:, None] >= jnp.arange(keys)
        visible = order[None, None, None]
        if prefix_B is not None:
            within = jnp.arange(keys) < prefix_B[:, None]
            visible = visible | within[:, None, None, None]
    if segments_BT is not None:
        own = segments_BT[:, slice(*queries), None]
        same = (own == segments_BT[:, None, :keys])[:, None, None]
        visible = same if visible is None else visible & same
    return visible


_float32 = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def _scores(q_BKGTH, k_BKSH, visible) -> Float[Array, "B K G t s"]:
    scores = _float32("BKGTH,BKSH->BKGTS", q_BKGTH, k_BKSH) * q_BKGTH.shape[-1] ** -0.5
    return scores if visible is None else jnp.where(visible, scores, MASKED)


def _reference(q_BTKGH, k_BSKH, v_BSKH, masks, causal, block):
    """One softmax over all keys: memory grows with T * S."""
    del block
    q_BKGTH, k_BKSH = q_BTKGH.transpose(0, 2, 3, 1, 4), k_BSKH.transpose(0, 2, 1, 3)
    tokens, keys = q_BTKGH.shape[1], k_BSKH.shape[1]
    visible = _visible(masks, causal, (0, tokens), keys)
    share_BKGTS = jax.nn.softmax(_scores(q_BKGTH, k_BKSH, visible), axis=-1)
    return jnp.einsum("BKGTS,BSKH->BTKGH", share_BKGTS.astype(v_BSKH.dtype), v_BSKH)


# The blocked backend takes queries a block at a time, against only the keys that
# causality leaves them, and its backward pass computes each block's scores again: of
# a row of T tokens in n blocks, (n + 1) / 2n of the scores are ever computed, and none
# are kept. (Dao et al., arXiv 2205.14135, without a kernel.)


def _blocks(tokens: int, keys: int, cut: bool, block: int) -> Iterator[tuple]:
    """Yields (start, stop) of each block of queries and how many keys it may see.

    With `cut`, none after the block itself.
    """
    for start in range(0, tokens, block):
        stop = min(start + block, tokens)
        yield (start, stop), stop if cut else keys


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _blocked(q_BTKGH, k_BSKH, v_BSKH, masks, causal, block):
    """Attention by blocks of queries: memory grows with block * S."""
    return _blocked_forward(q_BTKGH, k_BSKH, v_BSKH, masks, causal, block)[0]


def _blocked_forward(q_BTKGH, k_BSKH, v_BSKH, masks, causal, block):
    q_BKGTH = q_BTKGH.transpose(0, 2, 3, 1, 4)
    k_BKSH, v_BKSH = k_BSKH.transpose(0, 2, 1, 3), v_BSKH.transpose(0, 2, 1, 3)
    outs, logs = [], []
    tokens, keys = q_BTKGH.shape[1], k_BSKH.shape[1]
    cut = causal and masks[1] is None  # a prefix may reach beyond any block
    for queries, seen in _blocks(tokens, keys, cut, block):
        visible = _visible(masks, causal, queries, seen)
        q = q_BKGTH[:, :, :, slice(*queries)]
        score = _scores(q, k_BKSH[:, :, :seen], visible)
        top = jnp.max(score, axis=-1, keepdims=True)
        weight = jnp.exp(score - top)
        total = jnp.sum(weight, axis=-1, keepdims=True)
        weight = weight.astype(v_BSKH.dtype)
        out = jnp.einsum("BKGTS,BKSH->BKGTH", weight, v_BKSH[:, :, :seen])
        outs.append((out / total).astype(q_BTKGH.dtype))
        logs.append(top + jnp.log(total))
    out_BTKGH = jnp.concatenate(outs, axis=3).transpose(0, 3, 1, 2, 4)
    out_BTKGH = checkpoint_name(out_BTKGH, "attention")
    log_BKGT1 = checkpoint_name(jnp.concatenate(logs, axis=3), "attention")
    return out_BTKGH, (q_BTKGH, k_BSKH, v_BSKH, masks, out_BTKGH, log_BKGT1)


def _blocked_backward(causal, block, residuals, d_out_BTKGH):
    q_BTKGH, k_BSKH, v_BSKH, masks, out_BTKGH, log_BKGT1 = residuals
    inner_BTKG = jnp.sum((d_out_BTKGH * out_BTKGH).astype(jnp.float32), axis=-1)
    inner_BKGT1 = inner_BTKG.transpose(0, 2, 3, 1)[..., None]
    q_BKGTH = q_BTKGH.transpose(0, 2, 3, 1, 4)
    d_out_BKGTH = d_out_BTKGH.transpose(0, 2, 3, 1, 4)
    k_BKSH, v_BKSH = k_BSKH.transpose(0, 2, 1, 3), v_BSKH.transpose(0, 2, 1, 3)
    cut = causal and masks[1] is None
    blocks = list(_blocks(q_BTKGH.shape[1], k_BSKH.shape[1], cut, block))
    d_qs = []
    d_k_BKHS = d_v_BKHS = jnp.zeros_like(k_BKSH, jnp.float32).swapaxes(2, 3)
    # From the last block on: it sees all keys, and the others a prefix of them.
    for queries, seen in reversed(blocks):
        visible = _visible(masks, causal, queries, seen)
        q, d_out, log, inner = (
            x[:, :, :, slice(*queries)]
            for x in (q_BKGTH, d_out_BKGTH, log_BKGT1, inner_BKGT1)
        )
        k, v = k_BKSH[:, :, :seen], v_BKSH[:, :, :seen]
        share = jnp.exp(_scores(q, k, visible) - log)
        d_share = _float32("BKGTH,BKSH->BKGTS", d_out, v)
        d_score = (share * (d_share - inner) * q.shape[-1] ** -0.5).astype(q.dtype)
        d_qs.append(jnp.einsum("BKGTS,BKSH->BKGTH", d_score, k))
        # H before S: the other order makes XLA transpose the scores on a CPU.
        d_k = _float32("BKGTH,BKGTS->BKHS", q, d_score)
        d_v = _float32("BKGTH,BKGTS->BKHS", d_out, share.astype(v.dtype))
        d_k_BKHS, d_v_BKHS = _add_prefix(d_k_BKHS, d_k), _add_prefix(d_v_BKHS, d_v)
    d_q_BTKGH = jnp.concatenate(d_qs[::-1], axis=3).transpose(0, 3, 1, 2, 4)
    d_k_BSKH, d_v_BSKH = (
        x.transpose(0, 3, 1, 2).astype(q_BTKGH.dtype) for x in (d_k_BKHS, d_v_BKHS)
    )
    return d_q_BTKGH, d_k_BSKH, d_v_BSKH, None


def _add_prefix(total_BKHS, part_BKHS):
    """Adds to the first places of the last axis."""
    places = part_BKHS.shape[-1]
    return total_BKHS.at[..., :places].set(total_BKHS[..., :places] + part_BKHS)


_blocked.defvjp(_blocked_forward, _blocked_backward)

BACKENDS: dict[str, Callable] = {"blocked": _blocked, "reference": _reference}

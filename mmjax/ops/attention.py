"""Attention within documents: every backend honours causality and segments alike."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

from mmjax.ops import kernels, pointwise, splash

MASKED = -1e30  # a score that softmax turns into an exact zero, and never into NaN


class Rule(NamedTuple):
    """What queries may see, and how scores are made of products."""

    causal: bool
    window: int  # 0: no limit
    scale: float
    softcap: float  # 0: none
    blocks: splash.Blocks


class Range(NamedTuple):
    """The keys that each query may see: from the first to before the stop."""

    first_BT: Int[Array, "*B T"]
    stop_BT: Int[Array, "*B T"]


class Rows(NamedTuple):
    """What queries may see that is each row's own."""

    segments_BT: Int[Array, "B T"] | None
    prefix_B: Int[Array, "B"] | None
    keys: Range | None


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BSKH: Float[Array, "B S K H"],
    v_BSKH: Float[Array, "B S K H"],
    segments_BT: Int[Array, "B T"] | None,
    causal: bool,
    backend: str,
    block: int,
    prefix_B: Int[Array, "B"] | None = None,
    keys: Range | None = None,
    *,
    window: int = 0,
    scale: float = 0.0,
    softcap: float = 0.0,
    blocks: splash.Blocks = splash.DEFAULT,
) -> Float[Array, "B T N H"]:
    """Softmax attention, in the dtype of the queries.

    Query head n reads key-value head n // (N / K). With `segments` (then T = S) a
    position sees its own segment only; with `causal`, only positions up to itself; with
    `window`, none that lie `window` or more places before it. Causality leaves out the
    first `prefix_B` positions of a row: all see those (AIM, arXiv 2401.08541, 3.2).
    Padding is a segment like any other, so no row of scores is ever wholly masked. With
    `keys`, each query sees a range of them, and gets zeros where that is empty.
    Products are multiplied by `scale` (0: H ** -0.5), and with `softcap` become
    softcap * tanh(score / softcap) (Gemma 2, arXiv 2408.00118). `backend` is a key of
    BACKENDS; `block` is the queries that the blocked one takes at a time, `blocks` are
    those of splash.
    """
    rows, tokens, heads, size = q_BTNH.shape
    groups = k_BSKH.shape[2]
    q_BTKGH = q_BTNH.reshape(rows, tokens, groups, heads // groups, size)
    rule = Rule(causal, window, scale or size**-0.5, softcap, blocks)
    own = Rows(segments_BT, prefix_B, keys)
    out_BTKGH = BACKENDS[backend](q_BTKGH, k_BSKH, v_BSKH, own, rule, block)
    out_BTNH = out_BTKGH.reshape(q_BTNH.shape)
    if keys is None:
        return out_BTNH
    some_BT11 = (keys.first_BT < keys.stop_BT)[..., None, None]
    return jnp.where(some_BT11, out_BTNH, 0)


def in_groups(
    q_ZRTNH: Float[Array, "Z R T N H"],
    k_ZRSKH: Float[Array, "Z R S K H"],
    v_ZRSKH: Float[Array, "Z R S K H"],
    segments_ZRT: Int[Array, "Z R T"] | None,
    prefix_ZR: Int[Array, "Z R"] | None,
    keys: Range | None,
    **how: Any,
) -> Float[Array, "Z R T N H"]:
    """`attend` in every pool group; `how` are its other arguments.

    By vmap: merging Z with R would mix two sharded axes.
    """

    def of_group(q, k, v, segments, prefix, keys):
        return attend(q, k, v, segments, prefix_B=prefix, keys=keys, **how)

    arrays = (q_ZRTNH, k_ZRSKH, v_ZRSKH, segments_ZRT, prefix_ZR, keys)
    return jax.vmap(of_group)(*arrays)


def _visible(
    own: Rows,
    rule: Rule,
    queries: tuple[int, int],
    keys: tuple[int, int],
) -> Bool[Array, "#B 1 1 t s"] | None:
    """Which keys of a range [start, stop) the queries of another may see."""
    parts = []
    place_t1, place_s = jnp.arange(*queries)[:, None], jnp.arange(*keys)
    if rule.causal:
        order = (place_t1 >= place_s)[None, None, None]
        if own.prefix_B is not None:
            order |= (place_s < own.prefix_B[:, None])[:, None, None, None]
        parts.append(order)
    if rule.window:
        parts.append((place_t1 - place_s < rule.window)[None, None, None])
    if own.segments_BT is not None:
        segment_Bt1 = own.segments_BT[:, slice(*queries), None]
        segment_B1s = own.segments_BT[:, None, slice(*keys)]
        parts.append((segment_Bt1 == segment_B1s)[:, None, None])
    if own.keys is not None:
        first_Bt1, stop_Bt1 = (x[:, slice(*queries), None] for x in own.keys)
        inside_Bts = (first_Bt1 <= place_s) & (place_s < stop_Bt1)
        parts.append(inside_Bts[:, None, None])
    return functools.reduce(jnp.logical_and, parts) if parts else None


_float32 = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def _scores(q_BKGTH, k_BKSH, rule: Rule) -> Float[Array, "B K G t s"]:
    scores = _float32("BKGTH,BKSH->BKGTS", q_BKGTH, k_BKSH) * rule.scale
    return pointwise.softcapped(scores, rule.softcap)


def _masked(scores, visible) -> Float[Array, "B K G t s"]:
    return scores if visible is None else jnp.where(visible, scores, MASKED)


def _reference(q_BTKGH, k_BSKH, v_BSKH, own, rule, block):
    """One softmax over all keys: memory grows with T * S."""
    del block
    q_BKGTH, k_BKSH = q_BTKGH.transpose(0, 2, 3, 1, 4), k_BSKH.transpose(0, 2, 1, 3)
    tokens, keys = q_BTKGH.shape[1], k_BSKH.shape[1]
    visible = _visible(own, rule, (0, tokens), (0, keys))
    scores_BKGTS = _masked(_scores(q_BKGTH, k_BKSH, rule), visible)
    share_BKGTS = jax.nn.softmax(scores_BKGTS, axis=-1)
    return jnp.einsum("BKGTS,BSKH->BTKGH", share_BKGTS.astype(v_BSKH.dtype), v_BSKH)


# The blocked backend takes queries a block at a time, against only the keys that
# causality and the window leave them, and its backward pass computes each block's
# scores again: of a row of T tokens in n blocks, (n + 1) / 2n of the scores are ever
# computed (with a window of w blocks, at most (w + 1) / n), and none are kept. (Dao et
# al., arXiv 2205.14135, without a kernel.)


def _blocks(
    tokens: int, keys: int, own: Rows, rule: Rule, block: int
) -> Iterator[tuple]:
    """Yields (start, stop) of each block of queries and of the keys it may see."""
    cut = rule.causal and own.prefix_B is None  # a prefix may reach beyond any block
    for start in range(0, tokens, block):
        stop = min(start + block, tokens)
        # Keys begin at a whole block too: what accelerators slice is then aligned.
        first = max(start - rule.window + 1, 0) // block * block if rule.window else 0
        yield (start, stop), (first, stop if cut else keys)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _blocked(q_BTKGH, k_BSKH, v_BSKH, own, rule, block):
    """Attention by blocks of queries: memory grows with block * S."""
    return _blocked_forward(q_BTKGH, k_BSKH, v_BSKH, own, rule, block)[0]


def _blocked_forward(q_BTKGH, k_BSKH, v_BSKH, own, rule, block):
    q_BKGTH = q_BTKGH.transpose(0, 2, 3, 1, 4)
    k_BKSH, v_BKSH = k_BSKH.transpose(0, 2, 1, 3), v_BSKH.transpose(0, 2, 1, 3)
    outs, logs = [], []
    tokens, keys = q_BTKGH.shape[1], k_BSKH.shape[1]
    for queries, seen in _blocks(tokens, keys, own, rule, block):
        visible = _visible(own, rule, queries, seen)
        q = q_BKGTH[:, :, :, slice(*queries)]
        score = _masked(_scores(q, k_BKSH[:, :, slice(*seen)], rule), visible)
        top = jnp.max(score, axis=-1, keepdims=True)
        weight = jnp.exp(score - top)
        total = jnp.sum(weight, axis=-1, keepdims=True)
        weight = weight.astype(v_BSKH.dtype)
        out = jnp.einsum("BKGTS,BKSH->BKGTH", weight, v_BKSH[:, :, slice(*seen)])
        outs.append((out / total).astype(q_BTKGH.dtype))
        logs.append(top + jnp.log(total))
    out_BTKGH = jnp.concatenate(outs, axis=3).transpose(0, 3, 1, 2, 4)
    out_BTKGH = checkpoint_name(out_BTKGH, "attention")
    log_BKGT1 = checkpoint_name(jnp.concatenate(logs, axis=3), "attention")
    return out_BTKGH, (q_BTKGH, k_BSKH, v_BSKH, own, out_BTKGH, log_BKGT1)


def _blocked_backward(rule, block, residuals, d_out_BTKGH):
    q_BTKGH, k_BSKH, v_BSKH, own, out_BTKGH, log_BKGT1 = residuals
    inner_BTKG = jnp.sum((d_out_BTKGH * out_BTKGH).astype(jnp.float32), axis=-1)
    inner_BKGT1 = inner_BTKG.transpose(0, 2, 3, 1)[..., None]
    q_BKGTH = q_BTKGH.transpose(0, 2, 3, 1, 4)
    d_out_BKGTH = d_out_BTKGH.transpose(0, 2, 3, 1, 4)
    k_BKSH, v_BKSH = k_BSKH.transpose(0, 2, 1, 3), v_BSKH.transpose(0, 2, 1, 3)
    blocks = list(_blocks(q_BTKGH.shape[1], k_BSKH.shape[1], own, rule, block))
    d_qs = []
    d_k_BKHS = d_v_BKHS = jnp.zeros_like(k_BKSH, jnp.float32).swapaxes(2, 3)
    # From the last block on: without a window it sees all keys, the others a prefix.
    for queries, seen in reversed(blocks):
        visible = _visible(own, rule, queries, seen)
        q, d_out, log, inner = (
            x[:, :, :, slice(*queries)]
            for x in (q_BKGTH, d_out_BKGTH, log_BKGT1, inner_BKGT1)
        )
        k, v = k_BKSH[:, :, slice(*seen)], v_BKSH[:, :, slice(*seen)]
        score = _scores(q, k, rule)
        share = jnp.exp(_masked(score, visible) - log)
        d_share = _float32("BKGTH,BKSH->BKGTS", d_out, v)
        d_score = share * (d_share - inner) * rule.scale
        if rule.softcap:  # the slope of the cap, finite where masked as well
            d_score *= 1 - jnp.square(score / rule.softcap)
        d_score = d_score.astype(q.dtype)
        d_qs.append(jnp.einsum("BKGTS,BKSH->BKGTH", d_score, k))
        # H before S: the other order makes XLA transpose the scores on a CPU.
        d_k = _float32("BKGTH,BKGTS->BKHS", q, d_score)
        d_v = _float32("BKGTH,BKGTS->BKHS", d_out, share.astype(v.dtype))
        d_k_BKHS = _add_range(d_k_BKHS, d_k, seen)
        d_v_BKHS = _add_range(d_v_BKHS, d_v, seen)
    d_q_BTKGH = jnp.concatenate(d_qs[::-1], axis=3).transpose(0, 3, 1, 2, 4)
    d_k_BSKH, d_v_BSKH = (
        x.transpose(0, 3, 1, 2).astype(q_BTKGH.dtype) for x in (d_k_BKHS, d_v_BKHS)
    )
    return d_q_BTKGH, d_k_BSKH, d_v_BSKH, None


def _add_range(total_BKHS, part_BKHS, places: tuple[int, int]):
    """Adds to a range of the last axis."""
    here = slice(*places)
    return total_BKHS.at[..., here].set(total_BKHS[..., here] + part_BKHS)


_blocked.defvjp(_blocked_forward, _blocked_backward)


BACKENDS: dict[str, Callable] = {
    "blocked": _blocked,
    "reference": _reference,
    **kernels.KERNELS,
}

"""Attention within documents: every backend honours causality and segments alike."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmjax.ops import blocked, kernels, splash, visibility
from mmjax.ops.visibility import Range, Rows, Rule, Spread


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
    segments_BS: Int[Array, "B S"] | None = None,
    spread: Spread | None = None,
) -> Float[Array, "B T N H"]:
    """Softmax attention, in the dtype of the queries.

    Query head n reads key-value head n // (N / K). With `segments` (then T = S) a
    position sees its own segment only; with `causal`, only positions up to itself; with
    `window`, none that lie `window` or more places before it. Causality leaves out the
    first `prefix_B` positions of a row: all see those (AIM, arXiv 2401.08541, 3.2).
    With `spread`, queries are a part of a row, whose keys have segments of their own.
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
    part, parts = spread or (None, 1)
    rule = Rule(causal, window, scale or size**-0.5, softcap, blocks, parts)
    segments_BS = segments_BT if segments_BS is None else segments_BS
    own = Rows(segments_BT, segments_BS, prefix_B, keys, part)
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
    segments_ZRS: Int[Array, "Z R S"] | None = None,
    **how: Any,
) -> Float[Array, "Z R T N H"]:
    """`attend` in every pool group; `how` are its other arguments.

    By vmap: merging Z with R would mix two sharded axes.
    """

    def of_group(q, k, v, segments, prefix, keys, segments_BS):
        more = {"prefix_B": prefix, "keys": keys, "segments_BS": segments_BS}
        return attend(q, k, v, segments, **more, **how)

    arrays = q_ZRTNH, k_ZRSKH, v_ZRSKH, segments_ZRT, prefix_ZR, keys, segments_ZRS
    return jax.vmap(of_group)(*arrays)


def _reference(q_BTKGH, k_BSKH, v_BSKH, own, rule, block):
    """One softmax over all keys: memory grows with T * S."""
    del block
    q_BKGTH, k_BKSH = q_BTKGH.transpose(0, 2, 3, 1, 4), k_BSKH.transpose(0, 2, 1, 3)
    tokens, keys = q_BTKGH.shape[1], k_BSKH.shape[1]
    place_T = visibility.places(tokens, own, rule)
    visible = visibility.visible(own, rule, (0, tokens), place_T, (0, keys))
    scores_BKGTS = visibility.masked(visibility.scores(q_BKGTH, k_BKSH, rule), visible)
    share_BKGTS = jax.nn.softmax(scores_BKGTS, axis=-1)
    return jnp.einsum("BKGTS,BSKH->BTKGH", share_BKGTS.astype(v_BSKH.dtype), v_BSKH)


BACKENDS: dict[str, Callable] = {
    "blocked": blocked.attend,
    "reference": _reference,
    **kernels.KERNELS,
}

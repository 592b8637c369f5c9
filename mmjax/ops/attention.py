"""Attention within documents: every backend honours causality and segments alike."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
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
) -> Float[Array, "B T N H"]:
    """Softmax attention with scores scaled by H ** -0.5, in the dtype of the queries.

    Query head n reads key-value head n // (N / K). With `segments` (then T = S) a
    position sees its own segment only; with `causal`, only positions up to itself.
    Padding is a segment like any other, so no row of scores is ever wholly masked.
    `backend` is a key of BACKENDS; `block` is the queries that the blocked one takes at
    a time.
    """
    return BACKENDS[backend](q_BTNH, k_BSKH, v_BSKH, segments_BT, causal, block)


def _visible(
    segments_BT: Int[Array, "B T"] | None,
    causal: bool,
    start: int,
    stop: int,
    keys: int,
) -> Bool[Array, "#B 1 1 block keys"] | None:
    """Which of the first `keys` keys the queries in [start, stop) may see."""
    visible = None
    if causal:
        order = jnp.arange(start, stop)[:, None] >= jnp.arange(keys)
        visible = order[None, None, None]
    if segments_BT is not None:
        queries = segments_BT[:, start:stop, None]
        same = (queries == segments_BT[:, None, :keys])[:, None, None]
        visible = same if visible is None else visible & same
    return visible


def _reference(q_BTNH, k_BSKH, v_BSKH, segments_BT, causal, block):
    """One softmax over all keys: memory grows with T * S."""
    del block
    rows, queries, heads, size = q_BTNH.shape
    keys, groups = k_BSKH.shape[1:3]
    q_BTKGH = q_BTNH.reshape(rows, queries, groups, heads // groups, size)
    score_BKGTS = jnp.einsum(
        "BTKGH,BSKH->BKGTS",
        q_BTKGH * size**-0.5,
        k_BSKH,
        preferred_element_type=jnp.float32,
    )
    visible = _visible(segments_BT, causal, 0, queries, keys)
    if visible is not None:
        score_BKGTS = jnp.where(visible, score_BKGTS, MASKED)
    share_BKGTS = jax.nn.softmax(score_BKGTS, axis=-1).astype(v_BSKH.dtype)
    out_BTKGH = jnp.einsum("BKGTS,BSKH->BTKGH", share_BKGTS, v_BSKH)
    return out_BTKGH.reshape(q_BTNH.shape)


def _blocked(q_BTNH, k_BSKH, v_BSKH, segments_BT, causal, block):
    """Blocks of queries against the keys that causality leaves them."""
    return _reference(q_BTNH, k_BSKH, v_BSKH, segments_BT, causal, block)


BACKENDS: dict[str, Callable] = {"blocked": _blocked, "reference": _reference}

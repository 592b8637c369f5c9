"""Attention of new tokens to what is kept of the rows that they continue."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.ops import pointwise
from mmjax.ops.visibility import MASKED


class Rule(NamedTuple):
    """A layer's own rules, as in `attention.attend`."""

    window: int
    scale: float
    softcap: float


class Kept(NamedTuple):
    """Keys and values of places of rows; heads first, as products read them."""

    k_ZRKSH: Float[Array, "Z R K S H"]
    v_ZRKSH: Float[Array, "Z R K S H"]


class Part(NamedTuple):
    """What is kept, and which of its places each new token sees."""

    kept: Kept
    visible_ZRTS: Bool[Array, "#Z #R #T S"]


# (queries, keys and values of tokens [Z, R, T, heads, H], the layer's rule) -> what
# they attend to, [Z, R, T, N, H], and what is kept.
Attend = Callable[[Array, Array, Array, Rule], tuple[Array, Kept]]


def keep(
    k_ZRSKH: Float[Array, "Z R S K H"], v_ZRSKH: Float[Array, "Z R S K H"], dtype: str
) -> Kept:
    """Keys and values of tokens, in the dtype that they are kept in."""
    k, v = (x.transpose(0, 1, 3, 2, 4).astype(dtype) for x in (k_ZRSKH, v_ZRSKH))
    return Kept(k, v)


def write(into: Kept, new: Kept, slot: Int[Array, ""]) -> Kept:
    """What is kept, with new places of all rows from `slot` on."""

    def each(whole: Array, part: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(whole, part, slot, axis=3)

    return jax.tree.map(each, into, new)


def attend(
    q_ZRTNH: Float[Array, "Z R T N H"], parts: Sequence[Part], rule: Rule
) -> Float[Array, "Z R T N H"]:
    """One softmax over the visible places of all parts; zeros where there is none.

    The rule's window is left to `visible`.
    """
    *rows, tokens, heads, size = q_ZRTNH.shape
    groups = parts[0].kept.k_ZRKSH.shape[2]
    q = q_ZRTNH.reshape(*rows, tokens, groups, heads // groups, size)
    q_ZRKGTH = q.transpose(0, 1, 3, 4, 2, 5)
    scores = jnp.concatenate([_scores(q_ZRKGTH, part, rule) for part in parts], axis=-1)
    share_ZRKGTS = jax.nn.softmax(scores, axis=-1)
    out, start = jnp.zeros((), q.dtype), 0
    for part in parts:
        v_ZRKSH = part.kept.v_ZRKSH.astype(q.dtype)
        stop = start + v_ZRKSH.shape[3]
        share = share_ZRKGTS[..., start:stop].astype(q.dtype)
        out += jnp.einsum("ZRKGTS,ZRKSH->ZRKGTH", share, v_ZRKSH)
        start = stop
    some = (jnp.any(part.visible_ZRTS, axis=-1) for part in parts)
    some_ZRT = functools.reduce(jnp.logical_or, some)
    out = out.transpose(0, 1, 4, 2, 3, 5).reshape(q_ZRTNH.shape)
    return jnp.where(some_ZRT[..., None, None], out, 0)


def _scores(q_ZRKGTH: Array, part: Part, rule: Rule) -> Float[Array, "Z R K G T S"]:
    # Keys first: CPUs would copy them, turned, for each product with few queries.
    scores_ZRKSGT = jnp.einsum(
        "ZRKSH,ZRKGTH->ZRKSGT",
        part.kept.k_ZRKSH.astype(q_ZRKGTH.dtype),
        q_ZRKGTH,
        preferred_element_type=jnp.float32,
    )
    scores = jnp.moveaxis(scores_ZRKSGT, 3, -1)
    scores *= rule.scale or q_ZRKGTH.shape[-1] ** -0.5
    scores = pointwise.softcapped(scores, rule.softcap)
    return jnp.where(part.visible_ZRTS[:, :, None, None], scores, MASKED)

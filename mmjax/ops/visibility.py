"""What the queries of attention may see, and the scores of what they see."""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.ops import pointwise, splash

MASKED = -1e30  # a score that softmax turns into an exact zero, and never into NaN


class Rule(NamedTuple):
    """What queries may see, and how scores are made of products."""

    causal: bool
    window: int  # 0: no limit
    scale: float
    softcap: float  # 0: none
    blocks: splash.Blocks
    parts: int  # that rows are cut in; the queries are one of them


class Range(NamedTuple):
    """The keys that each query may see: from the first to before the stop."""

    first_BT: Int[Array, "*B T"]
    stop_BT: Int[Array, "*B T"]


class Spread(NamedTuple):
    """Which part of a row the queries are, where the keys are those of all of it.

    Of its 2 * `parts` pieces they are two: number `part` and the one as far from the
    end.
    """

    part: Int[Array, ""]
    parts: int


class Rows(NamedTuple):
    """What queries may see that is each row's own."""

    segments_BT: Int[Array, "B T"] | None
    segments_BS: Int[Array, "B S"] | None
    prefix_B: Int[Array, "B"] | None
    keys: Range | None
    part: Int[Array, ""] | None  # which of the rule's; None: queries are whole rows


def pieces(part: Any, parts: int) -> tuple[Any, Any]:
    """The two of 2 * `parts` pieces of a row that are this part of it."""
    return part, 2 * parts - 1 - part


def places(tokens: int, own: Rows, rule: Rule) -> Int[Array, " T"]:
    """Where each query stands in its row."""
    if own.part is None:
        return jnp.arange(tokens)
    size, both = tokens // 2, pieces(own.part, rule.parts)
    return jnp.concatenate([piece * size + jnp.arange(size) for piece in both])


def visible(
    own: Rows,
    rule: Rule,
    queries: tuple[int, int],
    place_t: Int[Array, " t"],
    keys: tuple[int, int],
) -> Bool[Array, "#B 1 1 t s"] | None:
    """Which keys of a range [start, stop) the queries of another may see.

    `place` says where the latter stand in their row.
    """
    parts = []
    place_t1, place_s = place_t[:, None], jnp.arange(*keys)
    if rule.causal:
        order = (place_t1 >= place_s)[None, None, None]
        if own.prefix_B is not None:
            order |= (place_s < own.prefix_B[:, None])[:, None, None, None]
        parts.append(order)
    if rule.window:
        parts.append((place_t1 - place_s < rule.window)[None, None, None])
    if own.segments_BT is not None and own.segments_BS is not None:
        segment_Bt1 = own.segments_BT[:, slice(*queries), None]
        segment_B1s = own.segments_BS[:, None, slice(*keys)]
        parts.append((segment_Bt1 == segment_B1s)[:, None, None])
    if own.keys is not None:
        first_Bt1, stop_Bt1 = (x[:, slice(*queries), None] for x in own.keys)
        inside_Bts = (first_Bt1 <= place_s) & (place_s < stop_Bt1)
        parts.append(inside_Bts[:, None, None])
    return functools.reduce(jnp.logical_and, parts) if parts else None


float32 = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def scores(q_BKGTH, k_BKSH, rule: Rule) -> Float[Array, "B K G t s"]:
    """Products of queries and keys, float32, scaled and capped."""
    products = float32("BKGTH,BKSH->BKGTS", q_BKGTH, k_BKSH) * rule.scale
    return pointwise.softcapped(products, rule.softcap)


def masked(score, seen) -> Float[Array, "B K G t s"]:
    """The scores of what `visible` says is seen; MASKED elsewhere."""
    return score if seen is None else jnp.where(seen, score, MASKED)

"""Attention of rows whose tokens lie over devices: each has its queries, all the keys.

Keys and values are gathered, queries stay apart. Causally the last tokens see most, so
a row is cut in two pieces a device, and each device attends for one early and one late
piece: all compute the same number of scores (Llama 3, arXiv 2407.21783, section 3.3.2).
Everywhere else tokens lie in their order. Of 4 devices:

    device          0      1      2      3
    holds          0 1    2 3    4 5    6 7
    attends for    0 7    1 6    2 5    3 4
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmjax.ops import visibility
from mmjax.ops.visibility import Spread


def attend(
    in_groups: Callable[..., Array],
    axis: str,
    q_ZRTNH: Float[Array, "Z R T N H"],
    k_ZRTKH: Float[Array, "Z R T K H"],
    v_ZRTKH: Float[Array, "Z R T K H"],
    segments_ZRT: Int[Array, "Z R T"],
    *nothing: None,
) -> Float[Array, "Z R T N H"]:
    """`attention.in_groups` of rows that lie over the mesh axis; within a shard_map.

    `nothing` are a prefix and ranges of keys, which rows have none of. T is even.
    """
    part, parts = jax.lax.axis_index(axis), jax.lax.axis_size(axis)

    def whole(x_ZRT: Array) -> Array:
        return jax.lax.all_gather(x_ZRT, axis, axis=2, tiled=True)

    segments_ZRS = whole(segments_ZRT)
    size = segments_ZRT.shape[2] // 2
    own = [
        jax.lax.dynamic_slice_in_dim(segments_ZRS, piece * size, size, axis=2)
        for piece in visibility.pieces(part, parts)
    ]
    out_ZRTNH = in_groups(
        _dealt(q_ZRTNH, axis), whole(k_ZRTKH), whole(v_ZRTKH),
        jnp.concatenate(own, axis=2), None, None, segments_ZRS,
        spread=Spread(part, parts),
    )  # fmt: skip
    return _collected(out_ZRTNH, axis)


def _ways(parts: int) -> list[list[tuple[int, int]]]:
    """(from, to) of the first pieces that devices hold, and of the second ones."""
    attends = {p: part for part in range(parts) for p in visibility.pieces(part, parts)}
    return [[(i, attends[2 * i + half]) for i in range(parts)] for half in (0, 1)]


def _dealt(x_ZRT: Array, axis: str) -> Array:
    """The pieces that this device attends for, of which each one holds two."""
    first_way, second_way = _ways(jax.lax.axis_size(axis))
    first, second = jnp.split(x_ZRT, 2, axis=2)
    even = jax.lax.ppermute(first, axis, first_way)
    odd = jax.lax.ppermute(second, axis, second_way)
    return _in_turn(even, odd, axis)


def _collected(x_ZRT: Array, axis: str) -> Array:
    """What was dealt, back in its order."""
    first_way, second_way = (
        [(to, of) for of, to in way] for way in _ways(jax.lax.axis_size(axis))
    )
    early, late = jnp.split(x_ZRT, 2, axis=2)
    is_even = jax.lax.axis_index(axis) % 2 == 0
    first = jax.lax.ppermute(jnp.where(is_even, early, late), axis, first_way)
    second = jax.lax.ppermute(jnp.where(is_even, late, early), axis, second_way)
    return jnp.concatenate([first, second], axis=2)


def _in_turn(even: Array, odd: Array, axis: str) -> Array:
    """The early and the late piece: the even one is early on even devices."""
    is_even = jax.lax.axis_index(axis) % 2 == 0
    both = jnp.where(is_even, even, odd), jnp.where(is_even, odd, even)
    return jnp.concatenate(both, axis=2)

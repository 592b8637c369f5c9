"""Sight: which images of its row each token sees, where images aren't in the row.

A row marks where its images stand (position t holds a slot of the group's pool). Its
images are numbered in that order, and a token sees a range of the numbers, always of
its own document and never of what comes later:

    token         BOS  <0>  a   red  EOS  BOS  old  <1>  cat  <2>  dog
    segment        1    1   1    1    1    2    2    2    2    2    2
    last           .    0   0    0    0    .    .    1    1    2    2
    all_before     .    0   0    0    0    .    .    1    1   1,2  1,2
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmjax.batch import NO_IMAGE


class Sight(NamedTuple):
    """The images of rows, and the range of them that each token sees."""

    slots_ZRU: Int[Array, "Z R U"]  # of the group, in order; NO_IMAGE where none is
    first_ZRT: Int[Array, "Z R T"]
    stop_ZRT: Int[Array, "Z R T"]  # as `first` where a token sees none


def sight(
    images_ZRT: Int[Array, "Z R T"],
    segments_ZRT: Int[Array, "Z R T"],
    most: int,
    seen: str,
) -> Sight:
    """What the tokens of rows with at most `most` images see; `seen`: a key of SEEN.

    `images` is `Batch.images_ZRT` with one position an image. Segments don't come back
    in a row. Images beyond `most` are left out, and who would see them sees nothing.
    """
    marks_ZRT = images_ZRT != NO_IMAGE
    stop_ZRT = jnp.cumsum(marks_ZRT, axis=-1)
    before_ZRT = stop_ZRT - marks_ZRT
    changes_ZRT = segments_ZRT[..., 1:] != segments_ZRT[..., :-1]
    starts_ZRT = jnp.pad(changes_ZRT, ((0, 0), (0, 0), (1, 0)), constant_values=True)
    own_ZRT = jax.lax.cummax(jnp.where(starts_ZRT, before_ZRT, 0), axis=2)

    def row(images_T, number_T):
        slots_U = jnp.full(most, NO_IMAGE, images_T.dtype)
        return slots_U.at[number_T].set(images_T, mode="drop")

    number_ZRT = jnp.where(marks_ZRT, before_ZRT, most)
    slots_ZRU = jax.vmap(jax.vmap(row))(images_ZRT, number_ZRT)
    first_ZRT = jnp.maximum(SEEN[seen](stop_ZRT), own_ZRT)
    return Sight(slots_ZRU, first_ZRT, jnp.minimum(stop_ZRT, most))


# The first image that a token sees of those that stand before `stop`, as long as that
# is one of its own document.
SEEN: dict[str, Callable[[Array], Array]] = {
    "last": lambda stop_ZRT: stop_ZRT - 1,
    "all_before": jnp.zeros_like,
}


def of_rows(
    pool_ZCQD: Float[Array, "Z C Q D"], slots_ZRU: Int[Array, "Z R U"]
) -> Float[Array, "Z R U Q D"]:
    """The image tokens of each row's images; anything where the row has none."""

    def gather(pool_CQD, slots_RU):
        return pool_CQD[jnp.maximum(slots_RU, 0)]

    return jax.vmap(gather)(pool_ZCQD, slots_ZRU)

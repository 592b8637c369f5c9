"""Image tokens take their places among the text embeddings of a row."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmjax.batch import NEWLINE


def splice(
    text_ZRTD: Float[Array, "Z R T D"],
    image_tokens_ZCQD: Float[Array, "Z C Q D"],
    images_ZRT: Int[Array, "Z R T"],
    newline_D: Float[Array, "D"] | None = None,
) -> Float[Array, "Z R T D"]:
    """Embeddings of a batch: text, and where `images` >= 0 the image token it names.

    `images` counts within the group: token `images % Q` of slot `images // Q`. So the
    gather is batched over groups, and a row only ever needs its own group's images.
    NEWLINE is `newline_D`; any other value below 0 is text, and every other one must be
    below C * Q.
    """
    groups, _, _, width = image_tokens_ZCQD.shape
    pool = image_tokens_ZCQD.reshape(groups, -1, width)

    def gather(pool_of_group, images_RT):
        return pool_of_group[jnp.maximum(images_RT, 0)]

    spliced = jax.vmap(gather)(pool, images_ZRT)
    x_ZRTD = jnp.where(images_ZRT[..., None] >= 0, spliced, text_ZRTD)
    if newline_D is None:
        return x_ZRTD
    newline_D = newline_D.astype(x_ZRTD.dtype)
    return jnp.where(images_ZRT[..., None] == NEWLINE, newline_D, x_ZRTD)

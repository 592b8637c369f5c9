"""Image tokens take their places among the text embeddings of a row."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def splice(
    text_ZRTD: Float[Array, "Z R T D"],
    image_tokens_ZCQD: Float[Array, "Z C Q D"],
    images_ZRT: Int[Array, "Z R T"],
) -> Float[Array, "Z R T D"]:
    """Embeddings of a batch: text, and where `images` >= 0 the image token it names.

    `images` counts within the group: token `images % Q` of slot `images // Q`. So the
    gather is batched over groups, and a row only ever needs its own group's images.
    A value below 0 is text; every other one must be below C * Q.
    """
    groups, _, _, width = image_tokens_ZCQD.shape
    pool = image_tokens_ZCQD.reshape(groups, -1, width)

    def gather(pool_of_group, images_RT):
        return pool_of_group[jnp.maximum(images_RT, 0)]

    spliced = jax.vmap(gather)(pool, images_ZRT)
    return jnp.where(images_ZRT[..., None] >= 0, spliced, text_ZRTD)

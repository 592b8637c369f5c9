"""Images and their texts: which of a batch are pairs, and texts as if alone."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from mmjax.batch import NO_IMAGE, PAD_SEGMENT, Batch

APART = -1  # segment of image positions: no text sees them


class Pairs(NamedTuple):
    """The document of each image slot, and whether both are a pair."""

    valid_ZC: Bool[Array, "Z C"]
    row_ZC: Int[Array, "Z C"]  # of the group
    last_ZC: Int[Array, "Z C"]  # place in the row of the document's last text


class Texts(NamedTuple):
    """Segments and positions of texts as if their rows held no images."""

    segments_ZRT: Int[Array, "Z R T"]
    positions_ZRT: Int[Array, "Z R T"]


def find(batch: Batch, image_tokens: int) -> Pairs:
    """A document of one image and of text is a pair, wherever the image stands in it.

    Documents of several images are none, nor are those in which no position counts (bad
    images, masked records) and those without text after their first token.
    """
    tokens = batch.segments_ZRT.shape[-1]

    def of_group(segments_RT, positions_RT, images_RT, mask_RT, real_C) -> Pairs:
        slots, rows = real_C.shape[0], segments_RT.shape[0]
        # Segments are numbered from 1, and a row has T of them at most.
        document_RT = jnp.arange(rows)[:, None] * (tokens + 1) + segments_RT
        none_O = jnp.zeros(rows * (tokens + 1), jnp.int32)
        begins_RT = (images_RT != NO_IMAGE) & (images_RT % image_tokens == 0)
        images_O = none_O.at[document_RT].add(begins_RT)
        counted_O = none_O.at[document_RT].max(mask_RT.astype(jnp.int32))
        text_RT = (images_RT == NO_IMAGE) & (segments_RT != PAD_SEGMENT)
        text_RT &= positions_RT > 0
        place_RT = jnp.where(text_RT, jnp.arange(tokens), -1)
        last_O = (none_O - 1).at[document_RT].max(place_RT)
        slot_RT = jnp.where(begins_RT, images_RT // image_tokens, slots)
        document_C = jnp.full(slots, -1).at[slot_RT].max(document_RT, mode="drop")
        found_C = (document_C >= 0) & real_C
        document_C = jnp.maximum(document_C, 0)
        whole_C = (images_O[document_C] == 1) & (counted_O[document_C] == 1)
        last_C = last_O[document_C]
        valid_C = found_C & whole_C & (last_C >= 0)
        return Pairs(valid_C, document_C // (tokens + 1), jnp.maximum(last_C, 0))

    arrays: Any = batch
    return jax.vmap(of_group)(
        arrays.segments_ZRT, arrays.positions_ZRT, arrays.images_ZRT,
        arrays.loss_mask_ZRT, arrays.real_ZC,
    )  # fmt: skip


def texts(
    segments_ZRT: Int[Array, "Z R T"],
    positions_ZRT: Int[Array, "Z R T"],
    images_ZRT: Int[Array, "Z R T"],
) -> Texts:
    """Image positions get a segment of their own, and positions of texts skip them.

    A row `BOS <image> <image> a cat` has the text positions 0 - - 1 2.
    """
    is_image_ZRT = images_ZRT != NO_IMAGE
    before_ZRT = jnp.cumsum(is_image_ZRT, axis=-1) - is_image_ZRT
    start_ZRT = jnp.arange(segments_ZRT.shape[-1]) - positions_ZRT
    start_ZRT = jnp.maximum(start_ZRT, 0)
    skipped_ZRT = before_ZRT - jnp.take_along_axis(before_ZRT, start_ZRT, axis=-1)
    return Texts(
        jnp.where(is_image_ZRT, APART, segments_ZRT),
        jnp.where(segments_ZRT == PAD_SEGMENT, 0, positions_ZRT - skipped_ZRT),
    )


def slot_sources(
    images_ZRT: Int[Array, "Z R T"],
    sources_ZRT: Int[Array, "Z R T"],
    slots: int,
    image_tokens: int,
) -> Int[Array, "Z C"]:
    """The source of each slot's document; 0 where no position shows the slot."""

    def of_group(images_RT, sources_RT):
        slot_RT = jnp.where(images_RT == NO_IMAGE, slots, images_RT // image_tokens)
        none_C = jnp.zeros(slots, sources_RT.dtype)
        return none_C.at[slot_RT].max(sources_RT, mode="drop")

    return jax.vmap(of_group)(images_ZRT, sources_ZRT)

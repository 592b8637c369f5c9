"""A small model, and rows that pack documents, for the tests of the models."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax import config
from mmjax.batch import NO_IMAGE, Batch
from mmjax.models import vlm

VOCAB, SIDE, QUERIES = 16, 8, 2  # rows of the embedding, pixels, tokens of an image


def model(**fields) -> config.Model:
    """Two layers of everything, float32; `fields` are set on the model."""
    made = config.Model(
        vit=config.ViT(
            image_size=SIDE,
            patch_size=4,
            width=8,
            layers=2,
            heads=2,
            mlp_width=16,
            remat="none",
        ),
        connector=config.Connector(tokens=QUERIES, heads=2, remat="none"),
        decoder=config.Decoder(
            vocab_size=VOCAB,
            width=16,
            layers=2,
            heads=4,
            kv_heads=2,
            head_size=8,
            mlp_width=24,
            remat="none",
        ),
        dtype="float32",
        attention_block=4,
        loss_chunk=8,
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def batch(
    rows: list[list[list]],
    tokens: int,
    slots: int,
    groups: int = 1,
    positions_of_image: int = QUERIES,
) -> Batch:
    """Rows of documents; a document lists words (numbers) and images ("slot 0", ...).

    Rows are dealt to the groups in order; slots are those of the row's group.
    """
    shape = (groups, len(rows) // groups, tokens)
    ids, segments, positions = (np.zeros((len(rows), tokens), np.int32) for _ in "123")
    images = np.full((len(rows), tokens), NO_IMAGE, np.int32)
    for r, documents in enumerate(rows):
        at = 0
        for segment, document in enumerate(documents, 1):
            start = at
            for item in document:
                if isinstance(item, str):
                    places = np.arange(positions_of_image)
                    first = int(item.removeprefix("slot ")) * positions_of_image
                    images[r, at + places] = first + places
                    at += positions_of_image
                else:
                    ids[r, at] = item
                    at += 1
            segments[r, start:at] = segment
            positions[r, start:at] = np.arange(at - start)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (groups, slots, SIDE, SIDE, 3), dtype=np.uint8)
    return Batch(
        tokens_ZRT=ids.reshape(shape),
        targets_ZRT=np.zeros(shape, np.int32),
        loss_mask_ZRT=np.zeros(shape, bool),
        segments_ZRT=segments.reshape(shape),
        positions_ZRT=positions.reshape(shape),
        images_ZRT=images.reshape(shape),
        sources_ZRT=np.zeros(shape, np.int32),
        pixels_ZChwc=pixels,
        real_ZC=np.ones((groups, slots), bool),
        texts_ZCW=np.zeros((groups, slots, 0), np.int32),
    )


def parameters(made: config.Model, seed: int = 1):
    """Parameters in which nothing is zero or one by chance."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(vlm.build(made).init, jax.random.key(0))
    return jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), leaf.dtype), shapes
    )


def logits(made: config.Model, params, rows: Batch) -> jax.Array:
    """Logits of every position, whole."""
    outputs = jax.jit(vlm.build(made).apply)(params, rows)
    return jnp.einsum("ZRTD,DV->ZRTV", outputs.hidden_ZRTD, outputs.unembed_DV)

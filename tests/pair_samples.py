"""Small models of encoders' objectives, and rows of pairs for them."""

import dataclasses

import jax
import model_samples
import numpy as np

from mmjax import config as config_lib
from mmjax.batch import PAD_SEGMENT, Batch
from mmjax.config import Aim, Config, Contrast, Objective

WIDTH = 6  # of the vectors


def model(kind: str, **fields) -> config_lib.Model:
    """`model_samples.model`'s with an objective; `fields` are the encoder's."""
    made = model_samples.model()
    made.objective = Objective(
        kind,
        Contrast(width=WIDTH, block=3),
        Aim(head_depth=2, head_width=12, head_mlp_width=20),
    )
    made.decoder = dataclasses.replace(made.decoder, tied_embeddings=True)
    made.vit = dataclasses.replace(made.vit, **fields)
    return made


def config(kind: str, rows: int, tokens: int, slots: int, **optim) -> Config:
    """A run of that model on one source, its rows in two groups."""
    return Config(
        steps=40,
        model=model(kind),
        data=config_lib.Data(
            sources=(config_lib.Source("captions"), config_lib.Source("pages")),
            row_tokens=tokens,
            rows_per_batch=rows,
            rows_per_pool=rows // 2,
            pool_capacity=slots,
            pool_multiple=4,
        ),
        optim=config_lib.Optim(**{"peak_lr": 1e-2, "warmup_steps": 2, **optim}),
        mesh=config_lib.Mesh(2, 2, 2),
    )


def batch(rows: list[list[list]], tokens: int, slots: int, groups: int = 1) -> Batch:
    """`model_samples.batch`, with every position of a document counted."""
    made = model_samples.batch(rows, tokens, slots, groups)
    return made._replace(loss_mask_ZRT=made.segments_ZRT != PAD_SEGMENT)


def sixteen_pairs() -> Batch:
    """Two groups of 4 rows of 2 captions, whose words tell the image's colour.

    All images have the same ramp in each patch of 4 x 4 pixels.
    """
    rng = np.random.default_rng(3)
    rows, words = [], rng.integers(3, 16, (8, 2, 2))
    for row in range(8):
        slot = row % 4 * 2
        first, second = words[row].tolist()
        rows.append([[1, f"slot {slot}", *first], [1, f"slot {slot + 1}", *second]])
    made = batch(rows, 12, 8, groups=2)
    pixels_ZChwc = np.zeros_like(made.pixels_ZChwc)
    for row in range(8):
        for place in range(2):
            colour = [*(16 * words[row, place]), 128]
            pixels_ZChwc[row // 4, row % 4 * 2 + place] = colour
    ramp_hw = np.add.outer(np.arange(8) % 4, np.arange(8) % 4)
    pixels_ZChwc += (2 * ramp_hw[..., None]).astype(np.uint8)
    sources_ZRT = np.broadcast_to(
        np.arange(4, dtype=np.int32)[None, :, None] % 2, made.sources_ZRT.shape
    )
    return made._replace(pixels_ZChwc=pixels_ZChwc, sources_ZRT=sources_ZRT.copy())


def device_batch(made: Batch) -> Batch:
    """The batch as arrays of jax."""
    return jax.tree.map(jax.numpy.asarray, made)

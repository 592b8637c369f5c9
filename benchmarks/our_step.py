"""A train step of ours on made-up rows, as benchmarks time it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool

from benchmarks import made_up_rows
from mmjax import flops, optim, sharding, step
from mmjax.batch import NO_IMAGE, Batch
from mmjax.config import Config
from mmjax.models import backends, vlm


class Ours(NamedTuple):
    """A function that takes one train step and returns the loss; and facts."""

    take_step: Callable[[], float]
    parameters: int
    attention: str  # backends that were chosen


def make_step(config: Config) -> Ours:
    """The step of a config, on the first of this process's devices."""
    model = vlm.build(config.model)
    mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
    train_step = step.make_train_step(model, config, mesh)
    state = step.init_state(model, config, mesh, jax.random.key(0))
    batch = jax.device_put(make_batch(config), sharding.batch_shardings(mesh))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))

    def take_step() -> float:
        nonlocal state
        state, metrics = train_step(state, batch)
        jax.block_until_ready(state)
        tokens = metrics["loss_tokens_by_source"].sum()
        return float(metrics["loss_sum_by_source"].sum() / tokens)

    return Ours(take_step, parameters, backends.told(config.model, mesh))


def flop(config: Config) -> dict[str, float]:
    """FLOPs of a step by component: all images are real, a row is one document."""
    data = config.data
    images = data.rows_per_batch * made_up_rows.images_of_row(config)
    work = flops.work(images, [data.row_tokens] * data.rows_per_batch)
    shapes = jax.eval_shape(vlm.build(config.model).init, jax.random.key(0))
    return flops.step(config.model, work, optim.flatten(shapes))


def make_batch(config: Config) -> Batch:
    """Rows of images and words, in one pool group; the loss is on the words."""
    data, decoder, vit = config.data, config.model.decoder, config.model.vit
    rng = np.random.default_rng(0)
    shape = (1, data.rows_per_batch, data.row_tokens)
    place_T = made_up_rows.image_tokens(config)
    inside_T = place_T >= 0
    tokens = rng.integers(3, decoder.vocab_size - 1, shape, dtype=np.int32)
    tokens[..., 0], tokens[..., inside_T] = 1, decoder.vocab_size - 1
    images = made_up_rows.images_of_row(config)
    first_R = images * config.model.connector.tokens * np.arange(data.rows_per_batch)
    slots = np.full(shape, NO_IMAGE, np.int32)
    slots[0][:, inside_T] = first_R[:, None] + place_T[inside_T]
    pixels = (1, data.rows_per_batch * images, vit.image_size, vit.image_size, 3)
    return Batch(
        tokens_ZRT=tokens,
        targets_ZRT=np.roll(tokens, -1, axis=-1),
        loss_mask_ZRT=np.broadcast_to(_followed_by_words(inside_T), shape),
        segments_ZRT=np.ones(shape, np.int32),
        positions_ZRT=np.zeros(shape, np.int32) + np.arange(shape[-1], dtype=np.int32),
        images_ZRT=slots,
        sources_ZRT=np.zeros(shape, np.int32),
        pixels_ZChwc=rng.integers(0, 256, pixels, dtype=np.uint8),
        real_ZC=np.ones(pixels[:2], bool),
        texts_ZCW=np.zeros((*pixels[:2], 0), np.int32),
    )


def _followed_by_words(inside_T: Bool[np.ndarray, "T"]) -> Bool[np.ndarray, "T"]:
    return np.append(~inside_T[1:], False)

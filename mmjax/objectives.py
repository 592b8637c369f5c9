"""What models learn by: a loss of each token, pair or patch, added up by source.

An objective says what it draws by chance (the only place where chance enters a step),
over how many things of a batch its loss is a mean, and the sums of their losses.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int, Int32, Scalar, ScalarLike

from mmjax import config as config_lib
from mmjax import scopes, sharding
from mmjax.batch import Batch
from mmjax.config import Config
from mmjax.models import layers, vit
from mmjax.models.vlm import Model
from mmjax.ops import contrast, cross_entropy, next_patch, pairs
from mmjax.ops.cross_entropy import TokenLoss
from mmjax.ops.moe import RouterSums


class Sums(NamedTuple):
    """What microbatches add up, besides gradients."""

    loss_S: Float32[Array, " S"]  # of what counts, by source: nats or squared errors
    tokens_S: Int32[Array, " S"]  # loss tokens (or pairs, or patches) of each source
    z_loss: Float32[Array, ""]  # squared log-partitions of the loss tokens
    router: RouterSums | None = None  # of layers with experts


class Objective(NamedTuple):
    """Pure functions of a batch, and of what was drawn for it."""

    draw: Callable[[Batch, ScalarLike], Any]  # (batch, step) -> arrays [Z, C] or None
    things: Callable[[Batch, Any], Scalar]  # how many of the batch count
    sums: Callable[[Any, Batch, Any], Sums]  # (params, batch, drawn)


def next_token(model: Model, config: Config, sources: int) -> Objective:
    """Text after images and text, in nats."""

    def things(batch: Batch, drawn: None) -> Scalar:
        return jnp.asarray(batch.loss_mask_ZRT).sum()

    def sums(params: Any, batch: Batch, drawn: None) -> Sums:
        losses, router = token_losses(model, config, params, batch)
        return add_up(losses, batch, sources)._replace(router=router)

    return Objective(_nothing, things, sums)


def contrastive(model: Model, config: Config, sources: int) -> Objective:
    """Pairs of images and texts among all of the batch, in nats."""
    settings, image_tokens = config.model.objective.contrast, _image_tokens(config)

    def things(batch: Batch, drawn: None) -> Scalar:
        return pairs.find(jax.tree.map(jnp.asarray, batch), image_tokens).valid_ZC.sum()

    def sums(params: Any, batch: Batch, drawn: None) -> Sums:
        made = model.apply(params, batch)
        with jax.named_scope(scopes.LOSS):
            losses_ZC = contrast.losses(
                made.images_ZCY, made.texts_ZCY, made.valid_ZC, made.scale, made.bias,
                settings.loss, settings.block, sharding.SLOTS,
            )  # fmt: skip
            source_ZC = _source_of_slots(batch, image_tokens)
            return _by_source(losses_ZC, made.valid_ZC, source_ZC, sources)

    return Objective(_nothing, things, sums)


def aim(model: Model, config: Config, sources: int) -> Objective:
    """Patches after each image's prefix, as mean squared errors."""
    patches = config_lib.patches(config.model.vit)

    def draw(batch: Batch, step: ScalarLike) -> Int[Array, "Z C"]:
        key = jax.random.fold_in(jax.random.key(config.seed), step)
        groups, slots = batch.real_ZC.shape
        return next_patch.prefixes(key, (groups, slots), patches)

    def things(batch: Batch, prefix_ZC: Array) -> Scalar:
        real_ZC = jnp.asarray(batch.real_ZC)
        return next_patch.predicted(prefix_ZC, real_ZC, patches).sum()

    def sums(params: Any, batch: Batch, prefix_ZC: Array) -> Sums:
        made = model.apply(params, batch, prefix_ZC)
        with jax.named_scope(scopes.LOSS):
            pixels_ZChwc = jnp.asarray(batch.pixels_ZChwc)
            target_ZCPp = vit.patchify(pixels_ZChwc, config.model.vit, "float32")
            errors_ZCP = next_patch.squared_errors(made.pixels_ZCPp, target_ZCPp)
            real_ZC = jnp.asarray(batch.real_ZC)
            counts_ZCP = next_patch.predicted(prefix_ZC, real_ZC, patches)
            source_ZC = _source_of_slots(batch, _image_tokens(config))
            return _by_source(errors_ZCP, counts_ZCP, source_ZC[..., None], sources)

    return Objective(draw, things, sums)


# (model, config, sources) -> objective.
OBJECTIVES: dict[str, Callable[[Model, Config, int], Objective]] = {
    "aim": aim,
    "contrastive": contrastive,
    "next_token": next_token,
}


def of(model: Model, config: Config, sources: int) -> Objective:
    """The objective of a config, for batches of so many sources."""
    return OBJECTIVES[config.model.objective.kind](model, config, sources)


def token_losses(
    model: Model, config: Config, params: Any, batch: Batch
) -> tuple[TokenLoss, RouterSums | None]:
    """The loss of every position, counted or not, and what the routers did."""
    outputs = model.apply(params, batch)
    with jax.named_scope(scopes.LOSS):
        losses = cross_entropy.chunked(
            outputs.hidden_ZRTD,
            outputs.unembed_DV,
            jnp.asarray(batch.targets_ZRT),
            config.model.loss_chunk,
            config.model.decoder.logit_softcap,
            layers.shards("context", batch.targets_ZRT.shape[2]),
        )
    return losses, outputs.router


@jax.named_scope(scopes.LOSS)
def add_up(losses: TokenLoss, batch: Batch, sources: int) -> Sums:
    """Sums over the positions that count, by their source."""
    mask_ZRT = jnp.asarray(batch.loss_mask_ZRT)
    z_loss = jnp.where(mask_ZRT, jnp.square(losses.log_z_ZRT), 0).sum()
    place_SZRT = jnp.arange(sources)[:, None, None, None] == batch.sources_ZRT
    counted_SZRT = place_SZRT & mask_ZRT
    # `where`, not a product: what is not finite must not spoil other sources.
    return Sums(
        jnp.where(counted_SZRT, losses.nll_ZRT, 0).sum((1, 2, 3)),
        counted_SZRT.sum((1, 2, 3)),
        z_loss,
    )


def _nothing(batch: Batch, step: ScalarLike) -> None:
    """Draws nothing."""
    del batch, step


def _image_tokens(config: Config) -> int:
    return config.model.connector.tokens


def _source_of_slots(batch: Batch, image_tokens: int) -> Int[Array, "Z C"]:
    images_ZRT, sources_ZRT = map(jnp.asarray, (batch.images_ZRT, batch.sources_ZRT))
    slots = batch.real_ZC.shape[1]
    return pairs.slot_sources(images_ZRT, sources_ZRT, slots, image_tokens)


def _by_source(
    losses: Float[Array, "Z C ..."],
    counts: Bool[Array, "Z C ..."],
    source: Int[Array, "Z C ..."],
    sources: int,
) -> Sums:
    """Sums over the things that count; `where`, so that others may be anything."""
    loss, count = [], []
    for place in range(sources):
        counted = counts & (source == place)
        loss.append(jnp.where(counted, losses, 0).sum())
        count.append(counted.sum())
    return Sums(jnp.stack(loss), jnp.stack(count), z_loss=jnp.zeros(()))

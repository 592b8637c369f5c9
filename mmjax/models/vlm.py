"""The whole model: images and tokens in, hidden states and the unembedding out.

`Model` is a pair of pure functions, as an optax optimizer is; its parameters are
nested dicts of float32 arrays, named as in checkpoints and in the sharding table.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mmjax import config, scopes
from mmjax.batch import NO_TEXT, Batch
from mmjax.models import aim, connectors, cross_attention, decoder, layers, towers, vit
from mmjax.models.cross_attention import Seen
from mmjax.ops import splice
from mmjax.ops.moe import RouterSums


class Outputs(NamedTuple):
    """Logits in two factors: whole they would be too large."""

    hidden_ZRTD: Float[Array, "Z R T D"]  # in the dtype of the activations
    unembed_DV: Float[Array, "D V"]  # float32
    router: RouterSums | None = None  # of layers with experts, in order


class Model(NamedTuple):
    """`init(key) -> params` and `apply(params, batch) -> Outputs`, both pure.

    With another objective than the next token, `apply` is that of its module: it gives
    `towers.Vectors`, or of (params, batch, prefixes) `aim.Predicted`.
    """

    init: Callable[[Array], Any]
    apply: Callable[..., Any]


class VLM(nn.Module):
    """Encoder, connector, splice, decoder.

    With cross-attention there is no splice: the decoder's blocks look at the images.
    """

    model: config.Model

    @nn.compact
    def __call__(self, batch: Batch) -> Outputs:
        model = self.model
        arrays: Any = jax.tree.map(jnp.asarray, batch)
        language = decoder.Decoder(model, name="decoder")
        x_ZRTD, seen = enter(model, language.embed(arrays.tokens_ZRT), arrays)
        hidden_ZRTD, router = language(
            x_ZRTD, arrays.segments_ZRT, arrays.positions_ZRT, seen
        )
        return Outputs(hidden_ZRTD, language.unembed_table(), router)


def enter(
    model: config.Model, x_ZRTD: Float[Array, "Z R T D"], batch: Any
) -> tuple[Float[Array, "Z R T D"], Seen | None]:
    """What the decoder reads, of embedded tokens and the images of a batch.

    To be called inside a module: it owns the encoders and the connector.
    """
    features_ZCPE = vit.encode(model, batch.pixels_ZChwc)
    texts = [batch.texts_ZCW] if config.text_tokens(model) else []
    kind: Any = connectors.CONNECTORS[model.connector.kind]
    connector = kind(model, name="connector")
    images_ZCQD = connector(features_ZCPE, *texts)
    # Every device encodes its own slots; then the group's rows get all of them.
    images_ZCQD = layers.pin(images_ZCQD, layers.GROUPS, layers.SLOTS, None, None)
    images_ZCQD = layers.pin(images_ZCQD, layers.GROUPS, None, None, None)
    seen = None
    if model.decoder.cross_attention.every:
        seen = cross_attention.look(model, images_ZCQD, batch)
    else:
        newline_D = connector.newline_D if model.preprocessing.newline else None
        with jax.named_scope(scopes.SPLICE):
            x_ZRTD = splice.splice(x_ZRTD, images_ZCQD, batch.images_ZRT, newline_D)
    return layers.pin(x_ZRTD, layers.GROUPS, "fsdp", "context", None), seen


# What a model consists of, by what it learns.
OBJECTIVES: dict[str, Callable[..., nn.Module]] = {
    "aim": aim.Aim,
    "contrastive": towers.Towers,
    "next_token": VLM,
}


def build(model: config.Model) -> Model:
    """The model of a (validated) config; later changes to it have no effect."""
    model = copy.deepcopy(model)
    module = OBJECTIVES[model.objective.kind](model)
    plain = OBJECTIVES[model.objective.kind](config.unquantized(model))

    def init(key: Array) -> Any:
        return plain.init(key, _smallest_batch(model))["params"]

    def apply(params: Any, batch: Batch, *drawn: Array) -> Any:
        return module.apply({"params": params}, batch, *drawn)

    return Model(init, apply)


def build_encoder(model: config.Model) -> Callable[[Any, Array], Array]:
    """(params of `vit`, pixels [Z, C, h, w, c]) -> features [Z, C, P, E], pure.

    Patches see each other both ways, and nothing is quantized, whatever the encoder has
    learned with.
    """
    module = vit.ViT(config.unquantized(copy.deepcopy(model)).vit, model.dtype)

    def encode(params: Any, pixels_ZChwc: Array) -> Array:
        features: Any = module.apply({"params": params}, pixels_ZChwc)
        return features

    return encode


def _smallest_batch(model: config.Model) -> Batch:
    """One row of two tokens and one image: enough to shape the parameters."""
    row = np.zeros((1, 1, 2), np.int32)
    side = model.vit.image_size
    return Batch(
        tokens_ZRT=row,
        targets_ZRT=row,
        loss_mask_ZRT=row > 0,
        segments_ZRT=row,
        positions_ZRT=row,
        images_ZRT=row - 1,
        sources_ZRT=row,
        pixels_ZChwc=np.zeros((1, 1, side, side, 3), np.uint8),
        real_ZC=np.zeros((1, 1), bool),
        texts_ZCW=np.full((1, 1, config.text_tokens(model)), NO_TEXT, np.int32),
    )

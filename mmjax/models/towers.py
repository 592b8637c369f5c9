"""Two towers, for images and for texts, whose vectors are alike for pairs.

CLIP (arXiv 2103.00020) and SigLIP (arXiv 2303.15343). The image tower is the encoder
`vit`, the text tower the decoder's layers, which see a document's text and nothing of
its image.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax import config
from mmjax.batch import Batch
from mmjax.models import decoder, layers, vit
from mmjax.ops import contrast, pairs


class Vectors(NamedTuple):
    """Image and text of each slot, of length 1 in float32, and how to compare them."""

    images_ZCY: Float[Array, "Z C Y"]
    texts_ZCY: Float[Array, "Z C Y"]
    valid_ZC: Bool[Array, "Z C"]  # the slot holds the image of a pair
    places: pairs.Pairs  # of their documents
    scale: Float[Array, ""]
    bias: Float[Array, ""]


class Heads(nn.Module):
    """From the towers' features to vectors; owns the logits' scale and bias."""

    model: config.Model

    @nn.compact
    def __call__(self, images_ZCE: Array, texts_ZCD: Array) -> tuple[Array, ...]:
        made, settings = [], self.model.objective.contrast
        for name, x in (("image", images_ZCE), ("text", texts_ZCD)):
            head = layers.Linear(
                (x.shape[-1],), (settings.width,), self.model.dtype, name=name
            )
            made.append(contrast.normed(head(x)))
        start = nn.initializers.constant(math.log(settings.scale))
        log_scale = self.param("log_scale", start, ())
        scale = jnp.minimum(jnp.exp(log_scale), settings.max_scale)
        bias = jnp.zeros(())  # softmax doesn't see it
        if settings.loss == "sigmoid":
            start = nn.initializers.constant(settings.bias)
            bias = self.param("bias", start, ())
        return *made, scale, bias


class Towers(nn.Module):
    """A batch's images and texts as vectors."""

    model: config.Model

    @nn.compact
    def __call__(self, batch: Batch) -> Vectors:
        model = self.model
        arrays: Any = jax.tree.map(jnp.asarray, batch)
        found = pairs.find(arrays, model.connector.tokens)
        rows = arrays.segments_ZRT, arrays.positions_ZRT, arrays.images_ZRT
        language = decoder.Decoder(model, name="decoder")
        x_ZRTD = language.embed(arrays.tokens_ZRT)
        x_ZRTD = layers.pin(x_ZRTD, layers.GROUPS, "fsdp", "context", None)
        hidden_ZRTD, _ = language(x_ZRTD, *pairs.texts(*rows))
        texts_ZCD = _at(hidden_ZRTD, found)
        heads = Heads(model, name="contrast")
        images_ZCY, texts_ZCY, scale, bias = heads(self._images(arrays), texts_ZCD)
        return Vectors(images_ZCY, texts_ZCY, found.valid_ZC, found, scale, bias)

    def _images(self, batch: Any) -> Float[Array, "Z C E"]:
        """One vector an image, of the encoder's width."""
        model = self.model
        tower = vit.ViT(model.vit, model.dtype, name="vit")
        tokens_ZCTE = tower(batch.pixels_ZChwc, with_special=True)
        if model.objective.contrast.pool == "class_token":
            return tokens_ZCTE[:, :, 0]
        patches = config.patches(model.vit)
        return tokens_ZCTE[:, :, tokens_ZCTE.shape[2] - patches :].mean(axis=2)


def _at(hidden_ZRTD: Array, found: pairs.Pairs) -> Float[Array, "Z C D"]:
    """The hidden state of each pair's last text, on the device of its image."""
    row_ZC, last_ZC = (layers.pin(x, layers.GROUPS, None) for x in found[1:])
    texts_ZCD = jax.vmap(lambda h, row, last: h[row, last])(
        hidden_ZRTD, row_ZC, last_ZC
    )
    return layers.pin(texts_ZCD, layers.GROUPS, layers.SLOTS, None)

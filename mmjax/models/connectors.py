"""Connectors: patch features of an image become image tokens of the decoder's width.

MM1 (arXiv 2403.09611, section 3.2) finds that the number of tokens and the resolution
matter, the kind of connector little.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax import config
from mmjax.models import layers

# Queries that start by reading few patches each learn sooner what is where; at 1 each
# token starts as nearly the mean of all patches.
SHARPNESS = 3.0


class PerceiverBlock(nn.Module):
    """Queries read the patch features, then pass an MLP of four times their width."""

    model: config.Model

    @nn.compact
    def __call__(self, x: Float[Array, "Z C Q D"], features: Float[Array, "Z C P E"]):
        vit, connector = self.model.vit, self.model.connector
        width, dtype = self.model.decoder.width, self.model.dtype
        encoder_width = config.encoder_width(self.model)
        attention = layers.Attention(
            width=width,
            source_width=encoder_width,
            heads=connector.heads,
            kv_heads=connector.heads,
            head_size=width // connector.heads,
            dtype=dtype,
            bias=True,
            causal=False,
            backend="reference",
            block=0,
            gain=(2 * connector.depth) ** -0.5,
            sharpness=SHARPNESS,
            name="attention",
        )
        queries = layers.LayerNorm(width, vit.norm_eps, name="norm_attention")(x)
        source = layers.LayerNorm(encoder_width, vit.norm_eps, name="norm_features")(
            features
        )
        x = x + attention(queries, source)
        mlp = layers.Mlp(
            width, 4 * width, width, "gelu", dtype, (2 * connector.depth) ** -0.5,
            name="mlp",
        )  # fmt: skip
        normed = layers.LayerNorm(width, vit.norm_eps, name="norm_mlp")(x)
        return x + mlp(normed), None


class Perceiver(nn.Module):
    """Learned queries that attend to the patches; depth 1 is attention pooling.

    As AXLearn's AttentionPooling: pre-norm cross-attention, residual onto the queries,
    then the MLP. Depth n repeats it with other parameters (Flamingo's resampler).
    """

    model: config.Model

    @nn.compact
    def __call__(self, features: Float[Array, "Z C P E"]) -> Float[Array, "Z C Q D"]:
        connector, width = self.model.connector, self.model.decoder.width
        shape = (connector.tokens, width)
        queries_QD = self.param("queries", layers.fan_in(width), shape)
        queries_QD = queries_QD.astype(self.model.dtype)
        x = jnp.broadcast_to(queries_QD, (*features.shape[:2], *shape))
        remat = self.model.vit.remat
        blocks = layers.stack(PerceiverBlock, connector.depth, remat, arguments=1)
        x, _ = blocks(self.model, name="blocks")(x, features)
        return x


class AveragePool(nn.Module):
    """The mean over squares of patches, then one linear layer."""

    model: config.Model

    @nn.compact
    def __call__(self, features: Float[Array, "Z C P E"]) -> Float[Array, "Z C Q D"]:
        groups, slots, patches, width = features.shape
        grid, side = math.isqrt(patches), math.isqrt(self.model.connector.tokens)
        square = grid // side
        x = features.reshape(groups, slots, side, square, side, square, width)
        x = x.mean(axis=(3, 5)).reshape(groups, slots, side * side, width)
        outputs = (self.model.decoder.width,)
        return layers.Linear((width,), outputs, self.model.dtype, True, name="project")(
            x
        )


class MlpConnector(nn.Module):
    """Two layers on every patch, one token a patch (LLaVA-1.5's)."""

    model: config.Model

    @nn.compact
    def __call__(self, features: Float[Array, "Z C P E"]) -> Float[Array, "Z C Q D"]:
        width, dtype = self.model.decoder.width, self.model.dtype
        inputs = features.shape[-1]
        return layers.Mlp(inputs, width, width, "gelu", dtype, name="mlp")(features)


CONNECTORS: dict[str, Callable[..., nn.Module]] = {
    "average_pool": AveragePool,
    "mlp": MlpConnector,
    "perceiver": Perceiver,
}

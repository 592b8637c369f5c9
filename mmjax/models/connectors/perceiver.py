"""Attention pooling, and the resampler that repeats it: queries that read patches."""

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
        source_width = features.shape[-1]
        attention = layers.Attention(
            width=width,
            source_width=source_width,
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
        source = layers.LayerNorm(source_width, vit.norm_eps, name="norm_features")(
            features
        )
        if connector.queries_as_keys:
            source = jnp.concatenate([source, queries], axis=-2)
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
    then the MLP. Depth n repeats it with other parameters (Flamingo's resampler, arXiv
    2204.14198, which has the queries among the keys: then the features are projected to
    the decoder's width first, as both must have one width).
    """

    model: config.Model

    @nn.compact
    def __call__(self, features: Float[Array, "Z C P E"]) -> Float[Array, "Z C Q D"]:
        connector, width = self.model.connector, self.model.decoder.width
        shape = (connector.tokens, width)
        queries_QD = self.param("queries", layers.fan_in(width), shape)
        queries_QD = queries_QD.astype(self.model.dtype)
        x = jnp.broadcast_to(queries_QD, (*features.shape[:2], *shape))
        if connector.queries_as_keys:
            inputs = (features.shape[-1],)
            project = layers.Linear(
                inputs, (width,), self.model.dtype, True, name="project"
            )
            features = project(features)
        remat = self.model.connector.remat
        blocks = layers.stack(PerceiverBlock, connector.depth, remat, arguments=1)
        x, _ = blocks(self.model, name="blocks")(x, features)
        return x

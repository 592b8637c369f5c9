"""BLIP-2's Q-Former: a BERT of learned queries that reads the patches now and then.

Li et al., arXiv 2301.12597. The queries of the image alone: text is no input
(InstructBLIP's, which reads the question, is a different connector).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax import config
from mmjax.models import layers
from mmjax.models.connectors import perceiver


class Layer(nn.Module):
    """Attention among the queries, to the patches, and an MLP; a norm after each."""

    model: config.Model
    reads: bool  # whether it attends to the patches

    @nn.compact
    def __call__(
        self, x: Float[Array, "Z C Q D"], features: Float[Array, "Z C P E"]
    ) -> Float[Array, "Z C Q D"]:
        sizes, dtype = self.model.connector.qformer, self.model.dtype
        x = self._norm("attention", x + self._attention("attention", sizes.width)(x, x))
        if self.reads:
            cross = self._attention("cross", features.shape[-1], perceiver.SHARPNESS)
            x = self._norm("cross", x + cross(x, features))
        widths = (sizes.width, sizes.mlp_width, sizes.width)
        mlp = layers.Mlp(*widths, "gelu", dtype, name="mlp")
        return self._norm("mlp", x + mlp(x))

    def _attention(
        self, name: str, source_width: int, sharpness: float = 1.0
    ) -> layers.Attention:
        sizes = self.model.connector.qformer
        return layers.Attention(
            width=sizes.width,
            source_width=source_width,
            heads=sizes.heads,
            kv_heads=sizes.heads,
            head_size=sizes.width // sizes.heads,
            dtype=self.model.dtype,
            bias=True,
            causal=False,
            backend="reference",
            block=0,
            gain=1.0,
            sharpness=sharpness,
            name=name,
        )

    def _norm(self, name: str, x: Array) -> Array:
        sizes = self.model.connector.qformer
        return layers.LayerNorm(sizes.width, sizes.norm_eps, name=f"norm_{name}")(x)


class Group(nn.Module):
    """`cross_every` layers, of which the first reads the patches."""

    model: config.Model

    @nn.compact
    def __call__(self, x: Float[Array, "Z C Q D"], features: Float[Array, "Z C P E"]):
        for place in range(self.model.connector.qformer.cross_every):
            layer = Layer(self.model, reads=place == 0, name=f"layer_{place}")
            x = layer(x, features)
        return x, None


class QFormer(nn.Module):
    """Learned queries, normed; groups of layers; one linear layer."""

    model: config.Model

    @nn.compact
    def __call__(self, features: Float[Array, "Z C P E"]) -> Float[Array, "Z C Q D"]:
        model, sizes = self.model, self.model.connector.qformer
        shape = (model.connector.tokens, sizes.width)
        queries_QD = self.param("queries", layers.fan_in(sizes.width), shape)
        queries_QD = layers.LayerNorm(sizes.width, sizes.norm_eps, name="norm")(
            queries_QD
        ).astype(model.dtype)
        x = jnp.broadcast_to(queries_QD, (*features.shape[:2], *shape))
        count = sizes.layers // sizes.cross_every
        groups = layers.stack(Group, count, model.vit.remat, arguments=1)
        x, _ = groups(model, name="blocks")(x, features)
        widths = (sizes.width,), (model.decoder.width,)
        return layers.Linear(*widths, model.dtype, True, name="project")(x)

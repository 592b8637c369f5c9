"""BLIP-2's Q-Former: a BERT of learned queries that reads the patches now and then.

Li et al., arXiv 2301.12597. With `text` it is InstructBLIP's (2305.06500): the queries
attend to the text beside the image too, which has its own MLPs and sees no patches.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmjax import config
from mmjax.batch import NO_TEXT
from mmjax.models import layers
from mmjax.models.connectors import perceiver
from mmjax.ops.attention import Range


class Layer(nn.Module):
    """Attention among queries and words, of queries to the patches, then their MLPs.

    A norm after each. Words, where the model has them, follow the queries in x.
    """

    model: config.Model
    reads: bool  # whether it attends to the patches

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "Z C S D"],
        features: Float[Array, "Z C P E"],
        keys: Range | None,
    ) -> Float[Array, "Z C S D"]:
        connector = self.model.connector
        attention = self._attention("attention", connector.qformer.width)
        x = self._norm("attention", x + attention(x, x, keys=keys))
        words = None
        if connector.qformer.text:
            x, words = jnp.split(x, [connector.tokens], axis=-2)
        if self.reads:
            cross = self._attention("cross", features.shape[-1], perceiver.SHARPNESS)
            x = self._norm("cross", x + cross(x, features))
        x = self._norm("mlp", x + self._mlp("mlp")(x))
        if words is None:
            return x
        words = self._norm("mlp_words", words + self._mlp("mlp_words")(words))
        return jnp.concatenate([x, words], axis=-2)

    def _mlp(self, name: str) -> layers.Mlp:
        sizes = self.model.connector.qformer
        widths = (sizes.width, sizes.mlp_width, sizes.width)
        return layers.Mlp(*widths, "gelu", self.model.dtype, name=name)

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
    def __call__(
        self,
        x: Float[Array, "Z C S D"],
        features: Float[Array, "Z C P E"],
        keys: Range | None,
    ):
        for place in range(self.model.connector.qformer.cross_every):
            layer = Layer(self.model, reads=place == 0, name=f"layer_{place}")
            x = layer(x, features, keys)
        return x, None


class Words(nn.Module):
    """Embeddings of the text beside images, with learned positions."""

    model: config.Model

    @nn.compact
    def __call__(self, texts_ZCW: Int[Array, "Z C W"]) -> Float[Array, "Z C W D"]:
        width, init = self.model.connector.qformer.width, layers.fan_in
        shape = (self.model.decoder.vocab_size, width)
        table_VD = self.param("embedding", init(width), shape)
        table_VD = layers.pin(table_VD, None, None)  # whole, for each device's slots
        positions_WD = self.param(
            "positions", init(width), (texts_ZCW.shape[-1], width)
        )
        return table_VD[jnp.maximum(texts_ZCW, 0)] + positions_WD


class QFormer(nn.Module):
    """Learned queries (and words), normed; groups of layers; one linear layer.

    `texts` are the ids of the words beside each image, NO_TEXT after the last.
    """

    model: config.Model

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "Z C P E"],
        texts_ZCW: Int[Array, "Z C W"] | None = None,
    ) -> Float[Array, "Z C Q D"]:
        model, sizes = self.model, self.model.connector.qformer
        shape = (model.connector.tokens, sizes.width)
        queries_QD = self.param("queries", layers.fan_in(sizes.width), shape)
        norm = layers.LayerNorm(sizes.width, sizes.norm_eps, name="norm")
        queries_QD = norm(queries_QD).astype(model.dtype)
        x, keys = jnp.broadcast_to(queries_QD, (*features.shape[:2], *shape)), None
        if sizes.text:
            assert texts_ZCW is not None, "a Q-Former with text needs it"
            words = norm(Words(model, name="words")(texts_ZCW)).astype(model.dtype)
            x = jnp.concatenate([x, words], axis=-2)
            keys = _present(texts_ZCW, model.connector.tokens)
        count = sizes.layers // sizes.cross_every
        groups = layers.stack(Group, count, model.connector.remat, arguments=2)
        x, _ = groups(model, name="blocks")(x, features, keys)
        x = x[..., : model.connector.tokens, :]
        widths = (sizes.width,), (model.decoder.width,)
        return layers.Linear(*widths, model.dtype, True, name="project")(x)


def _present(texts_ZCW: Int[Array, "Z C W"], queries: int) -> Range:
    """The keys that are there: all queries, and each image's words, which follow."""
    words_ZC1 = (texts_ZCW != NO_TEXT).sum(-1, keepdims=True)
    stop = jnp.broadcast_to(
        queries + words_ZC1, (*texts_ZCW.shape[:2], queries + texts_ZCW.shape[-1])
    )
    return Range(jnp.zeros_like(stop), stop)

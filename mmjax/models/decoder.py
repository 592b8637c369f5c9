"""The language model: RMSNorm, rotary positions, grouped queries, SwiGLU."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmjax import config
from mmjax.models import layers, moe
from mmjax.ops import pointwise, rope
from mmjax.ops.moe import RouterSums


class SwiGlu(nn.Module):
    """The gated MLP of a decoder layer."""

    width: int
    hidden: int
    dtype: str
    gain: float  # of the last layer

    @nn.compact
    def __call__(self, x: Float[Array, "*axes D"]) -> Float[Array, "*axes D"]:
        shape = ((self.width,), (self.hidden,), self.dtype)
        gate = layers.Linear(*shape, name="gate")(x)
        up = layers.Linear(*shape, name="up")(x)
        down = layers.Linear(
            (self.hidden,), (self.width,), self.dtype, gain=self.gain, name="down"
        )
        return down(pointwise.swiglu(gate, up))


class Block(nn.Module):
    """One layer: attention within documents, then the gated MLP, both residual.

    The MLP is a mixture of experts where the place says so; its `RouterSums` come out.
    """

    model: config.Model
    place: int = 0  # in the group of layers that alternate

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "Z R T D"],
        segments_ZRT: Int[Array, "Z R T"],
        turn: rope.Rotation,
    ):
        decoder, dtype = self.model.decoder, self.model.dtype
        gain = (2 * decoder.layers) ** -0.5  # the residual stream keeps its scale
        attention = layers.Attention(
            width=decoder.width,
            source_width=decoder.width,
            heads=decoder.heads,
            kv_heads=decoder.kv_heads,
            head_size=decoder.head_size,
            dtype=dtype,
            bias=False,
            causal=True,
            backend=self.model.attention,
            block=self.model.attention_block,
            gain=gain,
            name="attention",
        )
        eps = decoder.norm_eps
        normed = layers.RMSNorm(decoder.width, eps, name="norm_attention")(x)
        x = x + attention(normed, normed, segments_ZRT, turn)
        normed = layers.RMSNorm(decoder.width, eps, name="norm_mlp")(x)
        if config.is_sparse(decoder, self.place):
            y, router = moe.Experts(decoder, dtype, gain, name="moe")(
                normed, segments_ZRT
            )
            return x + y, router
        mlp = SwiGlu(decoder.width, decoder.mlp_width, dtype, gain, name="mlp")
        return x + mlp(normed), None


class Group(nn.Module):
    """Layers that alternate, one after the other; each knows its place in the group.

    What the backward pass keeps is kept of each layer, not of the whole group.
    """

    model: config.Model
    size: int

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "Z R T D"],
        segments_ZRT: Int[Array, "Z R T"],
        turn: rope.Rotation,
    ):
        block, outputs = layers.rematted(Block, self.model.decoder.remat), []
        for place in range(self.size):
            layer = block(self.model, place, name=f"layer{place}")
            x, output = layer(x, segments_ZRT, turn)
            outputs.append(output)
        return x, tuple(outputs)


def _in_order(output: Any) -> list[RouterSums]:
    """The sums of a stack of layers or of groups in order of its sparse layers.

    At most one `RouterSums`, stacked on L.
    """
    places = jax.tree.leaves(output, is_leaf=lambda x: isinstance(x, RouterSums))
    if not places:
        return []

    def interleaved(*of_place):  # group by group, and in each place by place
        x = jnp.stack(of_place, axis=1)
        return x.reshape(-1, *x.shape[2:])

    return [jax.tree.map(interleaved, *places)]


class Decoder(nn.Module):
    """Embeds tokens, runs the layers, and owns the table that makes logits."""

    model: config.Model

    def setup(self):
        decoder = self.model.decoder
        shape = (decoder.vocab_size, decoder.width)
        init = layers.fan_in(decoder.width)
        self.embedding = self.param("embedding", init, shape)
        if not decoder.tied_embeddings:
            self.unembedding = self.param("unembed", init, shape[::-1])
        self.stacks = self._stacks()
        self.norm = layers.RMSNorm(decoder.width, decoder.norm_eps, name="norm")

    def _stacks(self) -> list[nn.Module]:
        """The layers, in order; the folders are those of `config.layer_stacks`."""
        model, decoder = self.model, self.model.decoder
        period = config.layer_period(decoder)
        if period == 1:
            blocks = layers.stack(Block, decoder.layers, decoder.remat, arguments=2)
            return [blocks(model, name="blocks")]
        groups, left = divmod(decoder.layers, period)
        stacks = []
        if groups:
            blocks = layers.stack(Group, groups, "none", arguments=2)
            stacks.append(blocks(model, period, name="blocks"))
        if left:
            rest = layers.stack(Group, 1, "none", arguments=2)
            stacks.append(rest(model, left, name="rest"))
        return stacks

    def embed(self, tokens_ZRT: Int[Array, "Z R T"]) -> Float[Array, "Z R T D"]:
        """Embeddings of tokens, in the dtype of the activations."""
        # Each device looks up its rows' tokens in a whole table (or its part of the
        # vocabulary); float32, since the gradient of a frequent token is a long sum.
        table_VD = layers.pin(self.embedding, "tensor", None)
        return table_VD[tokens_ZRT].astype(self.model.dtype)

    def __call__(
        self,
        x_ZRTD: Float[Array, "Z R T D"],
        segments_ZRT: Int[Array, "Z R T"],
        positions_ZRT: Int[Array, "Z R T"],
    ) -> tuple[Float[Array, "Z R T D"], RouterSums | None]:
        """Embeddings to hidden states, normed and ready for `unembed`.

        And what the routers of sparse layers are judged by, in order of the layers.
        """
        decoder = self.model.decoder
        turn = rope.rotation(positions_ZRT, decoder.head_size, decoder.rope_theta)
        routers = []
        for stack in self.stacks:
            x_ZRTD, output = stack(x_ZRTD, segments_ZRT, turn)
            routers += _in_order(output)
        hidden_ZRTD = self.norm(x_ZRTD)
        if not routers:
            return hidden_ZRTD, None
        return hidden_ZRTD, jax.tree.map(lambda *x: jnp.concatenate(x), *routers)

    def unembed_table(self) -> Float[Array, "D V"]:
        """What hidden states are multiplied by for logits, float32."""
        if self.model.decoder.tied_embeddings:
            return self.embedding.T
        return self.unembedding

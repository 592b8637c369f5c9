"""The language model: RMSNorm, rotary positions, grouped queries, a gated MLP.

MM1's by default; the options of `config.Decoder` make it a Llama, Mistral, Qwen or
Gemma, number for number.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float, Int

from mmjax import config
from mmjax.models import layers
from mmjax.ops import pointwise, rope


class Turns(NamedTuple):
    """The rotary positions of a row."""

    turn: rope.Rotation
    local: rope.Rotation | None  # of layers with a window, where it is another


class GatedMlp(nn.Module):
    """The MLP of a decoder layer."""

    width: int
    hidden: int
    activation: str  # a key of pointwise.GATES
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
        return down(pointwise.GATES[self.activation](gate, up))


class Block(nn.Module):
    """One layer: attention within documents, then the gated MLP, both residual."""

    model: config.Model
    place: int = 0  # in the group of layers that alternate

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "Z R T D"],
        segments_ZRT: Int[Array, "Z R T"],
        turns: Turns,
    ):
        decoder, norm = self.model.decoder, _norm(self.model.decoder)
        turn = turns.turn
        if turns.local is not None and config.is_local(decoder, self.place):
            turn = turns.local
        gain = (2 * decoder.layers) ** -0.5  # the residual stream keeps its scale
        normed = norm(decoder.width, name="norm_attention")(x)
        added = self._attention(gain)(normed, normed, segments_ZRT, turn)
        if decoder.post_norms:
            added = norm(decoder.width, name="norm_attention_out")(added)
        x = x + added
        normed = norm(decoder.width, name="norm_mlp")(x)
        added = GatedMlp(
            decoder.width, decoder.mlp_width, decoder.activation, self.model.dtype,
            gain, name="mlp",
        )(normed)  # fmt: skip
        if decoder.post_norms:
            added = norm(decoder.width, name="norm_mlp_out")(added)
        return x + added, None

    def _attention(self, gain: float) -> layers.Attention:
        decoder = self.model.decoder
        local = config.is_local(decoder, self.place)
        return layers.Attention(
            width=decoder.width,
            source_width=decoder.width,
            heads=decoder.heads,
            kv_heads=decoder.kv_heads,
            head_size=decoder.head_size,
            dtype=self.model.dtype,
            bias=decoder.qkv_bias,
            out_bias=False,
            causal=True,
            backend=self.model.attention,
            block=self.model.attention_block,
            gain=gain,
            head_norm=_norm(decoder) if decoder.qk_norm else None,
            window=decoder.window if local else 0,
            scale=decoder.query_scale,
            softcap=decoder.attention_softcap,
            name="attention",
        )


def _norm(decoder: config.Decoder) -> Callable[..., layers.RMSNorm]:
    """Makes a norm of the decoder: norm(width, name=...)."""
    offset = decoder.norm_unit_offset
    return functools.partial(layers.RMSNorm, eps=decoder.norm_eps, unit_offset=offset)


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
        turns: Turns,
    ):
        block, outputs = layers.rematted(Block, self.model.decoder.remat), []
        for place in range(self.size):
            layer = block(self.model, place, name=f"layer{place}")
            x, output = layer(x, segments_ZRT, turns)
            outputs.append(output)
        return x, tuple(outputs)


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
        self.norm = _norm(decoder)(decoder.width, name="norm")

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
        x_ZRTD = table_VD[tokens_ZRT].astype(self.model.dtype)
        decoder = self.model.decoder
        return x_ZRTD * math.sqrt(decoder.width) if decoder.scale_embeddings else x_ZRTD

    def __call__(
        self,
        x_ZRTD: Float[Array, "Z R T D"],
        segments_ZRT: Int[Array, "Z R T"],
        positions_ZRT: Int[Array, "Z R T"],
    ) -> Float[Array, "Z R T D"]:
        """Embeddings to hidden states, normed and ready for `unembed`."""
        turns = _turns(self.model.decoder, positions_ZRT)
        for stack in self.stacks:
            x_ZRTD, _ = stack(x_ZRTD, segments_ZRT, turns)
        return self.norm(x_ZRTD)

    def unembed_table(self) -> Float[Array, "D V"]:
        """What hidden states are multiplied by for logits, float32.

        The loss caps them where `logit_softcap` is set.
        """
        if self.model.decoder.tied_embeddings:
            return self.embedding.T
        return self.unembedding


def _turns(decoder: config.Decoder, positions_ZRT: Int[Array, "Z R T"]) -> Turns:
    size, theta = decoder.head_size, decoder.local_rope_theta
    scaling = rope.Scaling(**dataclasses.asdict(decoder.rope_scaling))
    turn = rope.rotation(positions_ZRT, size, decoder.rope_theta, scaling)
    return Turns(turn, rope.rotation(positions_ZRT, size, theta) if theta else None)

"""The language model: RMSNorm, rotary positions, grouped queries, a gated MLP.

MM1's by default; the options of `config.Decoder` make it a Llama, Mistral, Qwen or
Gemma, number for number.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmjax import config
from mmjax.models import backends, cross_attention, layers, moe
from mmjax.models.cross_attention import Seen
from mmjax.ops import recall, rope, splash
from mmjax.ops.moe import RouterSums


class Turns(NamedTuple):
    """The rotary positions of a row."""

    turn: rope.Rotation
    local: rope.Rotation | None  # of layers with a window, where it is another


class Attends(NamedTuple):
    """What takes the place of a layer's attention within rows (`models.cached`)."""

    row: recall.Attend
    images: recall.Attend


class LayerKept(NamedTuple):
    """What these keep."""

    row: recall.Kept
    images: recall.Kept | None  # of a layer that attends to images


class Block(nn.Module):
    """One layer: attention within documents, then the gated MLP, both residual.

    Where the place says so, images are looked at first, and the MLP is a mixture of
    experts; its `RouterSums` come out. With `attends`, `LayerKept` does instead.
    """

    model: config.Model
    place: int = 0  # in the group of layers that alternate

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "Z R T D"],
        segments_ZRT: Int[Array, "Z R T"],
        turns: Turns,
        seen: Seen | None,
        attends: Attends | None = None,
    ):
        decoder, norm = self.model.decoder, make_norm(self.model.decoder)
        of_images = None
        if config.is_crossed(decoder, self.place):
            assert seen is not None, "a decoder with cross-attention needs images"
            cross = cross_attention.CrossAttention(self.model, norm, name="cross")
            x, of_images = cross(x, seen, attends and attends.images)
        turn = turns.turn
        if turns.local is not None and config.is_local(decoder, self.place):
            turn = turns.local
        gain = (2 * decoder.layers) ** -0.5  # the residual stream keeps its scale
        normed = norm(decoder.width, name="norm_attention")(x)
        attention = self._attention(gain)
        if attends is None:
            added, output = attention(normed, normed, segments_ZRT, turn), None
        else:
            added, kept = attention(normed, normed, turn=turn, attend=attends.row)
            output = LayerKept(kept, of_images)
        if decoder.post_norms:
            added = norm(decoder.width, name="norm_attention_out")(added)
        x = x + layers.features_last(added)
        normed = norm(decoder.width, name="norm_mlp")(x)
        added, router = self._mlp(gain, normed, segments_ZRT)
        if decoder.post_norms:
            added = norm(decoder.width, name="norm_mlp_out")(added)
        x = x + layers.features_last(added)
        return x, router if attends is None else output

    def _mlp(self, gain: float, x: Array, segments_ZRT: Array):
        """What the MLP or the experts add, and the `RouterSums` of the latter."""
        decoder, dtype = self.model.decoder, self.model.dtype
        if config.is_sparse(decoder, self.place):
            return moe.Experts(decoder, dtype, gain, name="moe")(x, segments_ZRT)
        sizes = (decoder.width, decoder.mlp_width, decoder.width, decoder.activation)
        mlp = layers.Mlp(
            *sizes, dtype, gain, bias=False, gated=True,
            quantization=decoder.quantization, name="mlp",
        )  # fmt: skip
        return mlp(x), None

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
            backend=backends.decoder(self.model),
            block=self.model.attention_block,
            gain=gain,
            head_norm=make_norm(decoder) if decoder.qk_norm else None,
            window=decoder.window if local else 0,
            scale=decoder.query_scale,
            softcap=decoder.attention_softcap,
            blocks=splash.Blocks(**vars(self.model.splash)),
            quantization=decoder.quantization,
            tokens_over="context",
            name="attention",
        )


def make_norm(decoder: config.Decoder) -> Callable[..., layers.RMSNorm]:
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
        seen: Seen | None,
    ):
        block, outputs = layers.rematted(Block, self.model.decoder.remat), []
        for place in range(self.size):
            layer = block(self.model, place, name=f"layer{place}")
            x, output = layer(x, segments_ZRT, turns, seen)
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
        self.norm = make_norm(decoder)(decoder.width, name="norm")

    def _stacks(self) -> list[nn.Module]:
        """The layers, in order; the folders are those of `config.layer_stacks`."""
        model, decoder = self.model, self.model.decoder
        period = config.layer_period(decoder)
        if period == 1:
            blocks = layers.stack(Block, decoder.layers, decoder.remat, arguments=3)
            return [blocks(model, name="blocks")]
        groups, left = divmod(decoder.layers, period)
        stacks = []
        if groups:
            blocks = layers.stack(Group, groups, "none", arguments=3)
            stacks.append(blocks(model, period, name="blocks"))
        if left:
            rest = layers.stack(Group, 1, "none", arguments=3)
            stacks.append(rest(model, left, name="rest"))
        return stacks

    def embed(self, tokens_ZRT: Int[Array, "Z R T"]) -> Float[Array, "Z R T D"]:
        """Embeddings of tokens, in the dtype of the activations."""
        return look_up(self.model, self.embedding, tokens_ZRT)

    def __call__(
        self,
        x_ZRTD: Float[Array, "Z R T D"],
        segments_ZRT: Int[Array, "Z R T"],
        positions_ZRT: Int[Array, "Z R T"],
        seen: Seen | None = None,
    ) -> tuple[Float[Array, "Z R T D"], RouterSums | None]:
        """Embeddings to hidden states, normed and ready for `unembed`.

        `seen` are the images of layers with cross-attention, which need it.
        And what the routers of sparse layers are judged by, in order of the layers.
        """
        turns = turns_of(self.model.decoder, positions_ZRT)
        routers = []
        for stack in self.stacks:
            x_ZRTD, output = stack(x_ZRTD, segments_ZRT, turns, seen)
            routers += _in_order(output)
        hidden_ZRTD = self.norm(x_ZRTD)
        if not routers:
            return hidden_ZRTD, None
        return hidden_ZRTD, jax.tree.map(lambda *x: jnp.concatenate(x), *routers)

    def unembed_table(self) -> Float[Array, "D V"]:
        """What hidden states are multiplied by for logits, float32.

        The loss caps them where `logit_softcap` is set.
        """
        if self.model.decoder.tied_embeddings:
            return self.embedding.T
        return self.unembedding


def look_up(
    model: config.Model, embedding_VD: Float[Array, "V D"], tokens_ZRT: Array
) -> Float[Array, "Z R T D"]:
    """`Decoder.embed` with this table."""
    # Each device looks up its rows' tokens in a whole table (or its part of the
    # vocabulary); float32, since the gradient of a frequent token is a long sum.
    table_VD = layers.pin(embedding_VD, "tensor", None)
    x_ZRTD = table_VD[tokens_ZRT].astype(model.dtype)
    decoder = model.decoder
    return x_ZRTD * math.sqrt(decoder.width) if decoder.scale_embeddings else x_ZRTD


def turns_of(decoder: config.Decoder, positions_ZRT: Int[Array, "Z R T"]) -> Turns:
    """How the queries and keys at these positions are turned."""
    size, theta = decoder.head_size, decoder.local_rope_theta
    scaling = rope.Scaling(**dataclasses.asdict(decoder.rope_scaling))
    turn = rope.rotation(positions_ZRT, size, decoder.rope_theta, scaling)
    return Turns(turn, rope.rotation(positions_ZRT, size, theta) if theta else None)

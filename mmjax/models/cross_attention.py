"""Gated cross-attention: a layer of the decoder looks at images before it reads on.

Alayrac et al., arXiv 2204.14198, section 2.2. The gates start at 0, so the decoder says
at first what it says without images.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax import config
from mmjax.batch import Batch
from mmjax.models import backends, layers
from mmjax.ops import recall, sight
from mmjax.ops.attention import Range


class Seen(NamedTuple):
    """The image tokens of each row, and those of them that each token attends to."""

    source_ZRSD: Float[Array, "Z R S D"]  # Q tokens of each of the row's images
    keys: Range  # [Z, R, T]


class CrossAttention(nn.Module):
    """Attention to images, then an MLP, each times the tanh of a number that it learns.

    A token that sees no image gets nothing from the attention. Sizes are the decoder's.
    """

    model: config.Model
    norm: Callable[..., layers.RMSNorm]  # makes a norm: norm(width, name=...)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "Z R T D"],
        seen: Seen,
        attend: recall.Attend | None = None,
    ) -> tuple[Float[Array, "Z R T D"], Any]:
        """And what `attend` keeps, which takes the place of attention to `seen`."""
        decoder, width = self.model.decoder, self.model.decoder.width
        source = self.norm(width, name="norm_images")(seen.source_ZRSD)
        normed = self.norm(width, name="norm_attention")(x)
        attention, kept = self._attention(), None
        if attend is None:
            added = attention(normed, source, keys=seen.keys)
        else:
            added, kept = attention(normed, source, attend=attend)
        x = x + self._gate("attention") * added
        mlp = layers.Mlp(
            width, decoder.mlp_width, width, decoder.activation, self.model.dtype,
            bias=False, gated=True, quantization=decoder.quantization, name="mlp",
        )  # fmt: skip
        normed = self.norm(width, name="norm_mlp")(x)
        return x + self._gate("mlp") * mlp(normed), kept

    def _gate(self, name: str) -> Array:
        gate = self.param(f"{name}_gate", nn.initializers.zeros, ())
        return jnp.tanh(gate).astype(self.model.dtype)

    def _attention(self) -> layers.Attention:
        decoder = self.model.decoder
        return layers.Attention(
            width=decoder.width,
            source_width=decoder.width,
            heads=decoder.heads,
            kv_heads=decoder.kv_heads,
            head_size=decoder.head_size,
            dtype=self.model.dtype,
            bias=False,
            causal=False,
            backend=backends.cross(self.model),
            block=self.model.attention_block,
            gain=1.0,
            head_norm=self.norm if decoder.qk_norm else None,
            quantization=decoder.quantization,
            tokens_over="context",
            name="attention",
        )


def look(
    model: config.Model, images_ZCQD: Float[Array, "Z C Q D"], batch: Batch
) -> Seen:
    """What the tokens of a batch see of the images of their groups' pools."""
    cross = model.decoder.cross_attention
    _, slots, tokens, width = images_ZCQD.shape
    most = min(cross.row_images or slots, slots, batch.images_ZRT.shape[-1])
    images_ZRT, segments_ZRT = (  # whole: what a token sees hangs on those before it
        layers.pin(jnp.asarray(x_ZRT), layers.GROUPS, "fsdp", None)
        for x_ZRT in (batch.images_ZRT, batch.segments_ZRT)
    )
    found = sight.sight(images_ZRT, segments_ZRT, most, cross.images)
    source = sight.of_rows(images_ZCQD, found.slots_ZRU)
    source = layers.pin(source, layers.GROUPS, "fsdp", None, None, None)
    source = source.reshape(*source.shape[:2], most * tokens, width)
    return Seen(source, Range(found.first_ZRT * tokens, found.stop_ZRT * tokens))

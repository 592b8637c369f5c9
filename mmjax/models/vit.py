"""The image encoder: a pre-norm vision transformer on square patches."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from mmjax import config
from mmjax.models import backends, layers
from mmjax.ops import positions, splash, triton

# What patches are padded to a multiple of, for kernels that want whole blocks.
MULTIPLES = {"splash": splash.LANES, "triton": triton.BLOCK}
NORMS = {"layer": layers.LayerNorm, "rms": layers.RMSNorm}


def patchify(
    pixels_ZChwc: Real[Array, "Z C h w c"], vit: config.ViT, dtype: str
) -> Float[Array, "Z C P pixels"]:
    """Square patches in reading order, of pixels in 0 to 255, normalized.

    A patch's numbers go row by row, then column by column, then by channel.
    """
    groups, slots, height, width, channels = pixels_ZChwc.shape
    size = vit.patch_size
    mean, std = np.array(vit.mean, np.float32), np.array(vit.std, np.float32)
    pixels = pixels_ZChwc.astype(jnp.float32)
    pixels = (pixels * (1 / 255 / std) - mean / std).astype(dtype)
    grid = (height // size, width // size)
    pixels = pixels.reshape(groups, slots, grid[0], size, grid[1], size, channels)
    pixels = pixels.transpose(0, 1, 2, 4, 3, 5, 6)
    return pixels.reshape(groups, slots, grid[0] * grid[1], size * size * channels)


def norm(vit: config.ViT, name: str) -> nn.Module:
    """A norm of the encoder's kind and width."""
    return NORMS[vit.norm](vit.width, vit.norm_eps, name=name)


class Block(nn.Module):
    """One layer: attention among an image's tokens, then the MLP, both residual."""

    vit: config.ViT
    dtype: str
    backend: str  # of attention
    causal: bool

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "Z C T E"],
        segments_ZCT: Int[Array, "Z C T"] | None,
        prefix_ZC: Int[Array, "Z C"] | None,
    ):
        vit = self.vit
        # The residual stream keeps its scale.
        gain = (2 * config.encoder_layers(vit)) ** -0.5
        normed = norm(vit, "norm_attention")(x)
        attention = layers.Attention(
            width=vit.width,
            source_width=vit.width,
            heads=vit.heads,
            kv_heads=vit.heads,
            head_size=vit.width // vit.heads,
            dtype=self.dtype,
            bias=vit.attention_bias,
            causal=self.causal,
            backend=self.backend,
            block=0,
            gain=gain,
            rows_over=layers.SLOTS,
            heads_over=None,
            quantization=vit.quantization,
            name="attention",
        )
        attended = attention(normed, normed, segments_ZCT, prefix_ZR=prefix_ZC)
        x = x + self._scaled("scale_attention", attended)
        mlp = layers.Mlp(
            vit.width, vit.mlp_width, vit.width, vit.activation, self.dtype, gain,
            vit.mlp_bias, vit.gated, vit.quantization, name="mlp",
        )  # fmt: skip
        return x + self._scaled("scale_mlp", mlp(norm(vit, "norm_mlp")(x))), None

    def _scaled(self, name: str, x: Array) -> Array:
        if not self.vit.layer_scale:
            return x
        return layers.LayerScale(self.vit.width, self.vit.layer_scale, name=name)(x)


class ViT(nn.Module):
    """Pixels to the features of patches.

    With a prefix, attention is AIM's in pretraining: patches after the first so many
    of their image see no later ones.
    """

    vit: config.ViT
    dtype: str

    @nn.compact
    def __call__(
        self,
        pixels_ZChwc: Real[Array, "Z C h w c"],
        prefix_ZC: Int[Array, "Z C"] | None = None,
        with_special: bool = False,
    ) -> Float[Array, "Z C T E"]:
        """`with_special`: also class token and registers, before the patches."""
        vit = self.vit
        size = vit.patch_size
        x = patchify(pixels_ZChwc, vit, self.dtype)
        embed = layers.Linear(
            (x.shape[-1],), (vit.width,), self.dtype, vit.patch_bias, name="patch_embed"
        )
        x = embed(x)
        if vit.embedding_norm == "patches":
            x = norm(vit, "norm_embedding")(x)
        height, width = pixels_ZChwc.shape[2:4]
        x = x + self._positions((height // size, width // size)).astype(self.dtype)
        patches = x.shape[2]
        x = self._with_special_tokens(x)
        if vit.embedding_norm == "tokens":
            x = norm(vit, "norm_embedding")(x)
        tokens = x.shape[2]
        x = self._blocks(x, None if prefix_ZC is None else prefix_ZC + tokens - patches)
        x = x[:, :, 0 if with_special else tokens - patches : tokens]
        return norm(vit, "norm")(x) if vit.features == -1 else x

    def _blocks(
        self, x: Float[Array, "Z C T E"], prefix_ZC: Int[Array, "Z C"] | None
    ) -> Float[Array, "Z C S E"]:
        """The layers' outputs; for a kernel there may be padding behind the tokens."""
        vit, segments_ZCT = self.vit, None
        backend = backends.encoder(vit, self.dtype, prefix_ZC is not None)
        more = -x.shape[2] % MULTIPLES.get(backend, 1)
        if more:
            # All layers carry the padding, a segment of its own: to pad and to cut in
            # each of them would be copies of more than the padding costs.
            real = jnp.arange(x.shape[2] + more) < x.shape[2]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, more), (0, 0)))
            segments_ZCT = jnp.broadcast_to(real.astype(jnp.int32), x.shape[:3])
        # Every device encodes its own slots: weights come to images, never the reverse.
        x = layers.pin(x, layers.GROUPS, layers.SLOTS, None, None)
        blocks = layers.stack(Block, config.encoder_layers(vit), vit.remat, arguments=2)
        causal = prefix_ZC is not None
        layer = blocks(vit, self.dtype, backend, causal, name="blocks")
        return layer(x, segments_ZCT, prefix_ZC)[0]

    def _positions(self, grid: tuple[int, int]) -> Float[Array, "P E"]:
        """Positions of a grid of patches."""
        vit = self.vit
        side = vit.position_grid or vit.image_size // vit.patch_size
        if vit.positions == "fixed":
            return jnp.asarray(positions.sincos(grid, vit.width, columns_first=True))

        def waves(key: Array) -> Array:
            # Learned from noise, shapes take far longer to tell.
            del key
            return jnp.asarray(positions.sincos((side, side), vit.width))

        table_PE = self.param("positions", waves)
        return positions.resize(table_PE, grid, vit.position_resize)

    def _with_special_tokens(
        self, x: Float[Array, "Z C P E"]
    ) -> Float[Array, "Z C T E"]:
        """Class token and registers, where there are any, then the patches."""
        vit = self.vit
        special, init = [], layers.fan_in(vit.width)
        if vit.class_token:
            token_1E = self.param("class_token", init, (1, vit.width))
            if vit.positions == "learned":
                shape = (1, vit.width)
                zeros = nn.initializers.zeros
                token_1E = token_1E + self.param("class_position", zeros, shape)
            special.append(token_1E)
        if vit.registers:
            special.append(self.param("registers", init, (vit.registers, vit.width)))
        special = [
            jnp.broadcast_to(t.astype(self.dtype), (*x.shape[:2], *t.shape))
            for t in special
        ]
        return jnp.concatenate([*special, x], axis=2) if special else x


def resize(
    pixels_ZChwc: Real[Array, "Z C h w c"], side: int
) -> Float[Array, "Z C side side c"]:
    """Images of another size, by antialiased linear interpolation."""
    shape = (*pixels_ZChwc.shape[:2], side, side, pixels_ZChwc.shape[-1])
    pixels = pixels_ZChwc.astype(jnp.float32)
    return jax.image.resize(pixels, shape, "linear", antialias=True)


def encode(
    model: config.Model, pixels_ZChwc: Real[Array, "Z C h w c"]
) -> Float[Array, "Z C P E"]:
    """Features of patches by the model's encoders, joined by channel.

    To be called inside a module: it owns the encoders.
    """
    features = []
    for name, vit in config.encoders(model).items():
        same = vit.image_size == model.vit.image_size
        pixels = pixels_ZChwc if same else resize(pixels_ZChwc, vit.image_size)
        features.append(ViT(vit, model.dtype, name=name)(pixels))
    return features[0] if len(features) == 1 else jnp.concatenate(features, axis=-1)

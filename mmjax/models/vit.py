"""The image encoder: a pre-norm vision transformer on square patches."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from mmjax import config
from mmjax.models import layers
from mmjax.ops import positions

# Mean and deviation of the channels that CLIP encoders (OpenAI's and DFN's) expect.
CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def patchify(
    pixels_ZChwc: UInt8[Array, "Z C h w c"], size: int, dtype: str
) -> Float[Array, "Z C P pixels"]:
    """Square patches of `size` pixels in reading order, normalized as CLIP's are.

    A patch's numbers go row by row, then column by column, then by channel.
    """
    groups, slots, height, width, channels = pixels_ZChwc.shape
    pixels = pixels_ZChwc.astype(jnp.float32)
    pixels = (pixels * (1 / 255 / CLIP_STD) - CLIP_MEAN / CLIP_STD).astype(dtype)
    grid = (height // size, width // size)
    pixels = pixels.reshape(groups, slots, grid[0], size, grid[1], size, channels)
    pixels = pixels.transpose(0, 1, 2, 4, 3, 5, 6)
    return pixels.reshape(groups, slots, grid[0] * grid[1], size * size * channels)


class Block(nn.Module):
    """One layer: attention among an image's patches, then the MLP, both residual."""

    vit: config.ViT
    dtype: str

    @nn.compact
    def __call__(self, x: Float[Array, "Z C P E"]):
        vit = self.vit
        gain = (2 * vit.layers) ** -0.5  # the residual stream keeps its scale
        normed = layers.LayerNorm(vit.width, vit.norm_eps, name="norm_attention")(x)
        attention = layers.Attention(
            width=vit.width,
            source_width=vit.width,
            heads=vit.heads,
            kv_heads=vit.heads,
            head_size=vit.width // vit.heads,
            dtype=self.dtype,
            bias=True,
            causal=False,
            backend="reference",
            block=0,
            gain=gain,
            name="attention",
        )
        x = x + attention(normed, normed)
        normed = layers.LayerNorm(vit.width, vit.norm_eps, name="norm_mlp")(x)
        mlp = layers.Mlp(
            vit.width, vit.mlp_width, vit.width, vit.activation, self.dtype, gain,
            name="mlp",
        )  # fmt: skip
        return x + mlp(normed), None


def _grid_waves(key: Array, vit: config.ViT) -> Float[Array, "P E"]:
    """Positions to start from: learned from noise, shapes take far longer to tell."""
    del key
    return jnp.asarray(positions.sincos(vit.image_size // vit.patch_size, vit.width))


class ViT(nn.Module):
    """Pixels to patch features."""

    vit: config.ViT
    dtype: str

    @nn.compact
    def __call__(
        self, pixels_ZChwc: UInt8[Array, "Z C h w c"]
    ) -> Float[Array, "Z C P E"]:
        vit = self.vit
        size = vit.patch_size
        x = patchify(pixels_ZChwc, size, self.dtype)
        embed = layers.Linear(
            (x.shape[-1],), (vit.width,), self.dtype, True, name="patch_embed"
        )
        table_PE = self.param("positions", _grid_waves, vit)
        height, width = pixels_ZChwc.shape[2:4]
        table_PE = positions.resize(table_PE, (height // size, width // size))
        x = embed(x) + table_PE.astype(self.dtype)
        # Every device encodes its own slots: weights come to images, never the reverse.
        x = layers.pin(x, layers.GROUPS, ("fsdp", "tensor"), None, None)
        blocks = layers.stack(Block, vit.layers, vit.remat, arguments=0)
        x, _ = blocks(vit, self.dtype, name="blocks")(x)
        return layers.LayerNorm(vit.width, vit.norm_eps, name="norm")(x)

"""Honeybee's C-Abstractor, MM1's connector: convolutions that keep what is near near.

Cha et al., arXiv 2312.06742: positions are added, RegNet blocks go over the grid of
patches, adaptive pooling makes it the grid of tokens, blocks go over that, then an MLP.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax import config
from mmjax.models import layers
from mmjax.models.connectors import projection, squares
from mmjax.ops import pooling, positions

NORM_EPS = 1e-6  # of the norms over channels, timm's LayerNorm2d
POSITIONS = nn.initializers.truncated_normal(0.02)


class Depthwise(nn.Module):
    """A 3 x 3 convolution of every channel alone, zeros around the grid.

    Nine shifted products: they fuse on every backend, and images stay on their devices.
    """

    width: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "Z C rows columns E"]
    ) -> Float[Array, "Z C rows columns E"]:
        kernel = self.param("kernel", layers.fan_in(9), (3, 3, self.width))
        rows, columns = x.shape[2:4]
        around = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
        total = jnp.zeros(x.shape, jnp.float32)
        for down in range(3):
            for right in range(3):
                seen = around[:, :, down : down + rows, right : right + columns]
                total += seen.astype(jnp.float32) * kernel[down, right]
        return total.astype(x.dtype)


class RegNetBlock(nn.Module):
    """Pointwise, depthwise and pointwise convolution, and a shortcut around them.

    A bottleneck of RegNet-Y (arXiv 2003.13678) without a narrower middle and with one
    channel a group; each convolution ends in a norm over channels.
    """

    inputs: int
    width: int
    squeezed: int  # channels between squeeze and excitation
    dtype: str

    @nn.compact
    def __call__(self, x: Float[Array, "Z C rows columns E"]):
        h = jax.nn.silu(self._norm("expand", self._pointwise("expand", x)))
        h = Depthwise(self.width, name="depthwise")(h)
        h = jax.nn.silu(self._norm("depthwise", h))
        h = h * self._gate(h)
        h = self._norm("out", self._pointwise("out", h))
        if self.inputs != self.width:
            x = self._norm("shortcut", self._pointwise("shortcut", x))
        return jax.nn.silu(h + x), None

    def _pointwise(self, name: str, x: Array) -> Array:
        inputs, outputs = (x.shape[-1],), (self.width,)
        return layers.Linear(inputs, outputs, self.dtype, name=name)(x)

    def _norm(self, name: str, x: Array) -> Array:
        return layers.LayerNorm(self.width, NORM_EPS, name=f"norm_{name}")(x)

    def _gate(self, h: Array) -> Array:
        """Squeeze and excitation: how much of each channel an image lets through."""
        wide, narrow = (self.width,), (self.squeezed,)
        squeeze = layers.Linear(wide, narrow, self.dtype, True, name="squeeze")
        excite = layers.Linear(narrow, wide, self.dtype, True, name="excite")
        mean = h.mean(axis=(2, 3), keepdims=True)
        return jax.nn.sigmoid(excite(jax.nn.silu(squeeze(mean))))


class CAbstractor(squares.Squares):
    """Blocks on the patches, pooling, blocks on the tokens, MLP.

    The first block, `entry`, takes the encoder's width to the convolutions'.
    """

    @nn.compact
    def __call__(self, features: Float[Array, "Z C P E"]) -> Float[Array, "Z C Q D"]:
        model, sizes = self.model, self.model.connector.c_abstractor
        groups, slots, patches, inputs = features.shape
        grid, tokens = math.isqrt(patches), model.connector.tokens
        shape = (config.patches(model.vit), inputs)
        table_PE = self.param("positions", POSITIONS, shape)
        table_PE = positions.resize(table_PE, (grid, grid)).astype(model.dtype)
        x = projection.prenorm(model, features) + table_PE
        x = x.reshape(groups, slots, grid, grid, inputs)
        entry = layers.rematted(RegNetBlock, model.connector.remat)
        squeezed = config.squeezed(sizes, inputs)
        x, _ = entry(inputs, sizes.width, squeezed, model.dtype, name="entry")(x)
        x = self._stage("before", sizes.depth - 1, x)
        x = pooling.adaptive_average(x, math.isqrt(tokens))
        x = self._stage("after", sizes.depth, x)
        x = x.reshape(groups, slots, tokens, sizes.width)
        return projection.projection(model, sizes.width, jax.nn.silu)(x)

    def _stage(self, name: str, depth: int, x: Array) -> Array:
        """Blocks that keep the width, their parameters stacked."""
        if depth == 0:
            return x
        sizes, remat = self.model.connector.c_abstractor, self.model.connector.remat
        squeezed = config.squeezed(sizes, sizes.width)
        blocks = layers.stack(RegNetBlock, depth, remat, arguments=0)
        x, _ = blocks(sizes.width, sizes.width, squeezed, self.model.dtype, name=name)(
            x
        )
        return x

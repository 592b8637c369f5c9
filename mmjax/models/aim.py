"""An encoder that predicts each patch from those before it: AIM, arXiv 2401.08541.

A head of MLPs stands on the encoder while it is pretrained, and is then left away.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmjax import config
from mmjax.batch import Batch
from mmjax.models import layers, vit
from mmjax.ops import positions


class Predicted(NamedTuple):
    """What the patches 1, 2, ..., P - 1 of each image are thought to be."""

    pixels_ZCPp: Float[Array, "Z C P2 p"]  # normalized patch by patch


class Block(nn.Module):
    """A layer of the head: a pre-norm MLP with its residual."""

    model: config.Model

    @nn.compact
    def __call__(self, x: Float[Array, "Z C P F"]):
        model, aim = self.model, self.model.objective.aim
        normed = layers.LayerNorm(aim.head_width, model.vit.norm_eps, name="norm")(x)
        mlp = layers.Mlp(
            aim.head_width, aim.head_mlp_width, aim.head_width, "gelu", model.dtype,
            (2 * aim.head_depth) ** -0.5, bias=False, name="mlp",
        )  # fmt: skip
        return x + mlp(normed), None


class Head(nn.Module):
    """Features of patches to the pixels of each one's successor."""

    model: config.Model

    @nn.compact
    def __call__(self, x: Float[Array, "Z C P E"]) -> Float[Array, "Z C P pixels"]:
        model, aim = self.model, self.model.objective.aim
        side = model.vit.image_size // model.vit.patch_size
        waves_PE = positions.sincos((side, side), x.shape[-1], columns_first=True)
        x = x + jnp.asarray(waves_PE[: x.shape[2]], model.dtype)
        enter = layers.Linear(
            (x.shape[-1],), (aim.head_width,), model.dtype, name="enter"
        )
        blocks = layers.stack(Block, aim.head_depth, model.vit.remat, arguments=0)
        x, _ = blocks(model, name="blocks")(enter(x))
        x = layers.LayerNorm(aim.head_width, model.vit.norm_eps, name="norm")(x)
        pixels = (3 * model.vit.patch_size**2,)
        out = layers.Linear((aim.head_width,), pixels, model.dtype, True, name="out")
        return out(x)


class Aim(nn.Module):
    """A batch's images to predictions of their patches; its texts aren't read."""

    model: config.Model

    @nn.compact
    def __call__(
        self, batch: Batch, prefix_ZC: Int[Array, "Z C"] | None = None
    ) -> Predicted:
        """`prefix_ZC`: how many patches of each image all see (None: one)."""
        model = self.model
        pixels_ZChwc = jnp.asarray(batch.pixels_ZChwc)
        if prefix_ZC is None:
            prefix_ZC = jnp.ones(pixels_ZChwc.shape[:2], jnp.int32)
        tower = vit.ViT(model.vit, model.dtype, name="vit")
        features_ZCPE = tower(pixels_ZChwc, prefix_ZC)
        return Predicted(Head(model, name="aim")(features_ZCPE[:, :, :-1]))

"""Connectors that concatenate the features of several patches into a token's."""

import math

import flax.linen as nn
from jaxtyping import Array, Float

from mmjax import config
from mmjax.models.connectors import projection, squares


class PixelShuffle(squares.Squares):
    """Squares of k x k patches become one token each, then an MLP.

    A square's features go row by row, then column by column, as in InternVL (arXiv
    2404.16821, with `prenorm`) and Idefics3 and SmolVLM (2408.12637, 2504.05299; with
    `mlp_depth` 1). k is the patches' side over the tokens'.
    """

    @nn.compact
    def __call__(self, features: Float[Array, "Z C P E"]) -> Float[Array, "Z C Q D"]:
        groups, slots, patches, width = features.shape
        side = math.isqrt(self.model.connector.tokens)
        k = math.isqrt(patches) // side
        x = features.reshape(groups, slots, side, k, side, k, width)
        x = x.transpose(0, 1, 2, 4, 3, 5, 6)
        x = x.reshape(groups, slots, side * side, k * k * width)
        x = projection.prenorm(self.model, x)
        return projection.projection(self.model, x.shape[-1])(x)


class TokenConcat(nn.Module):
    """Patches that follow each other in reading order become one token, then an MLP.

    MiniGPT-v2's (arXiv 2310.09478) are four patches and one linear layer, `mlp_depth`
    1. Here a token takes as many as the patches are tokens.
    """

    model: config.Model

    @nn.compact
    def __call__(self, features: Float[Array, "Z C P E"]) -> Float[Array, "Z C Q D"]:
        groups, slots, patches, width = features.shape
        tokens = self.model.connector.tokens
        x = features.reshape(groups, slots, tokens, patches // tokens * width)
        x = projection.prenorm(self.model, x)
        return projection.projection(self.model, x.shape[-1])(x)

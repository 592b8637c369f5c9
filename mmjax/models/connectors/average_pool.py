"""MM1's average pooling: means over windows of patches, then one linear layer."""

import math

import flax.linen as nn
from jaxtyping import Array, Float

from mmjax.models import layers
from mmjax.models.connectors import projection, squares
from mmjax.ops import pooling


class AveragePool(squares.Squares):
    """A square grid of tokens of any side, each the mean of its window of patches."""

    @nn.compact
    def __call__(self, features: Float[Array, "Z C P E"]) -> Float[Array, "Z C Q D"]:
        groups, slots, patches, width = features.shape
        grid, tokens = math.isqrt(patches), self.model.connector.tokens
        x = projection.prenorm(self.model, features)
        x = x.reshape(groups, slots, grid, grid, width)
        x = pooling.adaptive_average(x, math.isqrt(tokens))
        x = x.reshape(groups, slots, tokens, width)
        outputs = (self.model.decoder.width,)
        linear = layers.Linear(
            (width,), outputs, self.model.dtype, True, name="project"
        )
        return linear(x)

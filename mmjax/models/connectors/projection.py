"""Connectors that map each patch alone, and the linear layers that others end in."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float

from mmjax import config
from mmjax.models import layers
from mmjax.models.connectors import squares
from mmjax.ops import pointwise

# Of a standard normal GELU leaves 0.43 of the mean square and SiLU 0.36: a kernel that
# reads either starts this much larger.
AFTER_ACTIVATION = 1.6


class Projection(nn.Module):
    """Linear layers with an activation between any two."""

    shapes: tuple[tuple[str, int, int], ...]  # name, inputs and outputs of each
    activation: Callable
    dtype: str

    @nn.compact
    def __call__(self, x: Float[Array, "*axes E"]) -> Float[Array, "*axes D"]:
        for place, (name, inputs, outputs) in enumerate(self.shapes):
            x = self.activation(x) if place else x
            gain = AFTER_ACTIVATION if place else 1.0
            linear = layers.Linear(
                (inputs,), (outputs,), self.dtype, True, gain, name=name
            )
            x = linear(x)
        return x


def projection(
    model: config.Model, inputs: int, activation: Callable = pointwise.gelu
) -> Projection:
    """The layers to the decoder's width, as the config counts them, named mlp."""
    counted = config.projection(model, inputs)
    return Projection(counted, activation, model.dtype, name="mlp")


def prenorm(model: config.Model, x: Float[Array, "*axes E"]) -> Float[Array, "*axes E"]:
    """The LayerNorm of what enters a connector, where the config wants it."""
    if not model.connector.prenorm:
        return x
    return layers.LayerNorm(x.shape[-1], model.vit.norm_eps, name="norm")(x)


class LinearConnector(squares.Squares):
    """One linear layer on every patch, one token a patch (LLaVA, arXiv 2304.08485)."""

    @nn.compact
    def __call__(self, features: Float[Array, "Z C P E"]) -> Float[Array, "Z C Q D"]:
        inputs, outputs = (features.shape[-1],), (self.model.decoder.width,)
        linear = layers.Linear(inputs, outputs, self.model.dtype, True, name="project")
        return linear(prenorm(self.model, features))


class MlpConnector(squares.Squares):
    """An MLP on every patch, one token a patch.

    Of two layers as in LLaVA-1.5 (arXiv 2310.03744); with an expansion to four widths
    before them, that of Prismatic's fused encoders (arXiv 2402.07865).
    """

    @nn.compact
    def __call__(self, features: Float[Array, "Z C P E"]) -> Float[Array, "Z C Q D"]:
        x = prenorm(self.model, features)
        return projection(self.model, x.shape[-1])(x)

"""Connectors: patch features of an image become image tokens of the decoder's width.

Each is a module of one field, the model's config. An image's tokens follow from its own
patches alone. MM1 (arXiv 2403.09611, section 3.2)
finds that the number of tokens and the resolution matter, the kind of connector little.
"""

from collections.abc import Callable

import flax.linen as nn

from mmjax.models.connectors import (
    average_pool,
    c_abstractor,
    merging,
    perceiver,
    projection,
    qformer,
)

CONNECTORS: dict[str, Callable[..., nn.Module]] = {
    "average_pool": average_pool.AveragePool,
    "c_abstractor": c_abstractor.CAbstractor,
    "linear": projection.LinearConnector,
    "mlp": projection.MlpConnector,
    "perceiver": perceiver.Perceiver,
    "pixel_shuffle": merging.PixelShuffle,
    "qformer": qformer.QFormer,
    "token_concat": merging.TokenConcat,
}

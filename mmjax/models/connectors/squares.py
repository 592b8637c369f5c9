"""What the connectors have in common whose tokens are a square of patches."""

import flax.linen as nn

from mmjax import config
from mmjax.models import layers


class Squares(nn.Module):
    """A connector that owns the vector at the end of each row of tiles, if any has one.

    LLaVA-NeXT's `image_newline`; tokens of tiles become rows by their places alone.
    """

    model: config.Model

    def setup(self):
        if self.model.preprocessing.newline:
            width = self.model.decoder.width
            self.newline_D = self.param("newline", layers.fan_in(width), (width,))

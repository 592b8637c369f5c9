"""Where images and words are in the rows of benchmarks; for our side and its peers."""

import numpy as np
from jaxtyping import Int

from mmjax.config import Config


def images_of_row(config: Config) -> int:
    """Images of a row, as many as fill the pool of its one group."""
    return config.data.pool_capacity // config.data.rows_per_pool


def image_tokens(config: Config) -> Int[np.ndarray, "T"]:
    """For each position the number of its image token in the row, -1 for words.

    A row is as many equal parts as it has images: one word, an image, words.
    """
    images, tokens = images_of_row(config), config.model.connector.tokens
    part = config.data.row_tokens // images
    place_T = np.full(config.data.row_tokens, -1)
    for image in range(images):
        first = image * part + 1
        place_T[first : first + tokens] = image * tokens + np.arange(tokens)
    return place_T

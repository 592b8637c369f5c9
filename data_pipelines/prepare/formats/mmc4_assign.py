"""Which sentence of an MMC4 page an image belongs to, decided anew.

As OpenFlamingo does (Awadalla et al. 2023): an assignment of images to sentences, one
to one, of the greatest total similarity, of which the weak pairs are dropped.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Assignment(NamedTuple):
    """What is kept of a page."""

    threshold: float = 0.24  # least CLIP similarity of an image and its sentence
    most_images: int = 6  # the first ones, in the order of the page's list
    drop_single: float = 0.5  # share dropped of the pages that keep one image
    least_bytes: int = 10_000  # of an image that the file itself holds


def assign(
    similarity: Sequence[Sequence[float]] | np.ndarray,
    threshold: float = Assignment().threshold,
    most_images: int = Assignment().most_images,
) -> list[tuple[int, int]]:
    """Pairs (image, sentence), sorted by image, from a matrix [images, sentences].

    Raises ValueError where that isn't a matrix of finite numbers.
    """
    import scipy.optimize

    matrix = np.asarray(similarity, np.float64)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise ValueError(f"similarities of shape {matrix.shape}: no finite matrix")
    images, sentences = scipy.optimize.linear_sum_assignment(matrix, maximize=True)
    pairs = [
        (int(image), int(sentence))
        for image, sentence in zip(images, sentences)
        if matrix[image, sentence] >= threshold
    ]
    return pairs[:most_images]


def is_dropped(sentences: Sequence[str], share: float) -> bool:
    """Whether a page is among the share to be dropped; its text alone decides."""
    text = "\0".join(sentences).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=8, person=b"mmc4 single").digest()
    return int.from_bytes(digest, "big") < share * 2**64

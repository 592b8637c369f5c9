"""Retrieval among held-out pairs: which text belongs to an image, and the reverse.

Pairs whose text has occurred already are left out, since neither of them is wrong. A
place is lost to every other vector that is as near, so vectors that are all the same
find nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mmjax.batch import NO_IMAGE, Batch
from mmjax.evals import heldout

NEAREST = (1, 5)  # k of recall at k
BLOCK = 1024  # rows of similarities at a time


class Recall(NamedTuple):
    """Shares of images (texts) whose text (image) is among the k nearest."""

    pairs: int  # with different texts, among which is searched
    image_to_text: dict[int, float]  # by k
    text_to_image: dict[int, float]

    @property
    def baseline(self) -> float:
        """Recall at 1 by chance."""
        return 1 / self.pairs


def evaluate(
    vectors_step: Callable[[Any, Batch], Sequence[Any]],
    params: Any,
    batches: Iterable[Batch],
) -> Recall | None:
    """The recall among all pairs of the batches; None where there is no pair.

    `vectors_step` is that of `encoder_steps`. All processes call this in step.
    """
    images, texts, seen = [], [], set()
    for batch in batches:
        rows = (batch.tokens_ZRT, batch.segments_ZRT, batch.images_ZRT)
        vectors, rows = heldout.fetch((tuple(vectors_step(params, batch)), rows))
        images_ZCY, texts_ZCY, valid_ZC, pairs = vectors
        for z, c in np.argwhere(valid_ZC):
            key = _text(rows, z, pairs.row_ZC[z, c], pairs.last_ZC[z, c])
            if key not in seen:
                seen.add(key)
                images.append(images_ZCY[z, c])
                texts.append(texts_ZCY[z, c])
    if not images:
        return None
    return recall(np.stack(images), np.stack(texts))


def recall(images: Float[np.ndarray, "n Y"], texts: Float[np.ndarray, "n Y"]) -> Recall:
    """The recall of n pairs, pair by pair in the same order."""
    there, back = ranks(images, texts), ranks(texts, images)
    return Recall(
        len(images),
        {k: float((there < k).mean()) for k in NEAREST},
        {k: float((back < k).mean()) for k in NEAREST},
    )


def ranks(
    asked: Float[np.ndarray, "n Y"], among: Float[np.ndarray, "n Y"]
) -> Int[np.ndarray, " n"]:
    """How many others are at least as near to each vector as its own partner is."""
    found = []
    for start in range(0, len(asked), BLOCK):
        part = asked[start : start + BLOCK]
        near = part @ among.T
        own = near[np.arange(len(part)), start + np.arange(len(part))]
        found.append((near >= own[:, None]).sum(axis=1) - 1)
    return np.concatenate(found)


def _text(rows: Sequence[np.ndarray], z: int, r: int, last: int) -> tuple[int, ...]:
    """The tokens of the text of a document, known by the place of its last one."""
    tokens_T, segments_T, images_T = (x[z, r] for x in rows)
    here_T = (segments_T == segments_T[last]) & (images_T == NO_IMAGE)
    return tuple(tokens_T[here_T].tolist())

"""Synthetic documents, as an index describes them, for the tests of plans."""

from collections.abc import Sequence

import numpy as np

from data_pipelines.chunks import Documents

# A segment is (is an image, tokens, slots, has loss).
Segment = tuple[bool, int, int, bool]


def columns(documents: Sequence[Sequence[Segment]], digest: str = "d") -> Documents:
    """The columns of documents that are lists of segments."""
    segments = [segment for document in documents for segment in document]
    image, tokens, slots, loss = zip(*segments) if segments else ((), (), (), ())
    start = np.cumsum([0, *(len(document) for document in documents)])
    return Documents(
        segment_start=start.astype(np.int64),
        segment_tokens=np.array(tokens, np.int32),
        segment_image=np.array(image, bool),
        segment_slots=np.array(slots, np.int16),
        segment_loss=np.array(loss, bool),
        digest=digest,
        kind=np.zeros(len(documents), np.uint8),
        kinds=("plain",),
        synthetic=np.zeros(len(documents), bool),
    )


def sample(
    count: int, text: float, images: float, seed: int = 0, image_tokens: int = 4
) -> Documents:
    """Documents with lognormal texts of this mean and a random number of images."""
    rng = np.random.default_rng(seed)
    per_document = np.minimum(rng.poisson(images, count), 30)
    if images == 1:
        per_document[:] = 1
    words = np.maximum(1, rng.lognormal(np.log(text) - 0.32, 0.8, count)).astype(int)
    segments = 2 * per_document + (per_document == 0)
    start = np.concatenate([[0], np.cumsum(segments)])
    owner = np.repeat(np.arange(count), segments)
    odd = (np.arange(start[-1]) - start[owner]) % 2 == 1
    image = ~odd & (per_document[owner] > 0)
    share = np.maximum(1, words // np.maximum(per_document, 1))[owner]
    return Documents(
        segment_start=start.astype(np.int64),
        segment_tokens=np.where(image, image_tokens, share).astype(np.int32),
        segment_image=image,
        segment_slots=image.astype(np.int16),
        segment_loss=~image,
        digest=f"sample {count} {text} {images} {seed} {image_tokens}",
        kind=np.zeros(count, np.uint8),
        kinds=("plain",),
        synthetic=np.zeros(count, bool),
    )

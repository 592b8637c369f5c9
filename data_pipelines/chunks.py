"""Documents cut into chunks that fit a row.

A document is the stream x of BOS, its segments and EOS; position i has x[i] as input
and x[i + 1] as target. A chunk is a range of positions. Cutting at c makes x[c] the
last target of one chunk and the first input of the next: nothing lost or repeated.
"""

from typing import NamedTuple

import numpy as np

from data_pipelines import index_columns, ragged, spans
from data_pipelines.index_columns import Documents

_PART = 1 << 20  # documents that are looked through at a time


class Layout(NamedTuple):
    """The limits and the seed of packing."""

    row_tokens: int  # T
    max_images: int  # pool slots that one row may use
    window: int  # documents packed together
    seed: int


class Chunks(NamedTuple):
    """Every chunk of some documents, in their order."""

    first: np.ndarray  # int64 [documents + 1]; first chunk of each document
    document: np.ndarray  # int64 [chunks], place in the documents
    start: np.ndarray  # int64 [chunks], position in the document
    stop: np.ndarray  # int64 [chunks]
    sums: np.ndarray  # int32 [chunks, len(STATS)]


def require_images_fit(documents: Documents, layout: Layout) -> None:
    """Raises ValueError for an image that no row can hold; of complete documents."""
    known = documents.summary
    assert known is not None
    if (
        known.image_positions <= layout.row_tokens
        and known.image_slots <= layout.max_images
    ):
        return
    count = len(documents.segment_start) - 1
    for start in range(0, count, _PART):
        part = index_columns.range_of(documents, start, min(start + _PART, count))
        tokens, slots = part.segment_tokens, part.segment_slots
        large = (tokens > layout.row_tokens) | (slots > layout.max_images)
        bad = np.flatnonzero(large & part.segment_image)
        if len(bad):
            place = np.searchsorted(part.segment_start, bad[0], side="right") - 1
            raise ValueError(
                f"document {start + place}: an image of {tokens[bad[0]]} positions and "
                f"{slots[bad[0]]} slots doesn't fit a row of {layout.row_tokens} "
                f"positions and {layout.max_images} slots"
            )


def chunk(
    documents: Documents, layout: Layout, numbers: np.ndarray | None = None
) -> Chunks:
    """Cuts what exceeds a row: text anywhere, an image never.

    Every image fits a row, as `require_images_fit` makes sure of. Raises ValueError
    where more images without positions stand at one place than a row may hold;
    `numbers` are those of the documents in their source.
    """
    stream = spans.stream(documents)
    images = index_columns.per_document(documents, documents.segment_image)
    slots = index_columns.per_document(documents, documents.segment_slots)
    counts = np.where(images == 0, -(-stream.length // layout.row_tokens), 1)
    large = (stream.length > layout.row_tokens) | (slots > layout.max_images)
    cuts = {
        document: _cut(
            documents,
            document,
            int(stream.length[document]),
            layout,
            document if numbers is None else int(numbers[document]),
        )
        for document in np.flatnonzero(large & (images > 0)).tolist()
    }
    for cut_document, starts in cuts.items():
        counts[cut_document] = len(starts)
    first = ragged.sums_before(counts)
    document = np.repeat(np.arange(len(counts)), counts)
    start = (np.arange(first[-1]) - first[document]) * layout.row_tokens
    for cut_document, starts in cuts.items():
        start[first[cut_document] : first[cut_document + 1]] = starts
    stop = np.empty_like(start)
    stop[:-1] = start[1:]
    stop[first[1:] - 1] = stream.length
    sums = spans.sums(documents, stream, document, start, stop)
    return Chunks(first, document, start, stop, sums)


def _cut(
    documents: Documents, document: int, length: int, layout: Layout, number: int
) -> list[int]:
    """First positions of the chunks of one large document that has images."""
    segments = slice(*documents.segment_start[document : document + 2].tolist())
    starts, position, slots = [0], 1, 0  # position 0 is BOS
    for tokens, image, cost in zip(
        documents.segment_tokens[segments].tolist(),
        documents.segment_image[segments].tolist(),
        documents.segment_slots[segments].tolist(),
    ):
        if image:
            # An image without positions stands at the position that follows it.
            stop = position + max(tokens, 1)
            if (
                stop - starts[-1] > layout.row_tokens
                or slots + cost > layout.max_images
            ):
                starts.append(min(position, length - 1))
                slots = 0
            slots += cost
            if starts[-2:-1] == starts[-1:]:
                raise ValueError(
                    f"document {number}: more than {layout.max_images} slots of images "
                    "without positions at one place"
                )
        position += tokens
        while position - starts[-1] > layout.row_tokens:
            starts.append(starts[-1] + layout.row_tokens)
            slots = 0
    return starts

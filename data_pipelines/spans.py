"""What spans of documents hold: STATS of ranges of their positions."""

from typing import NamedTuple

import numpy as np

from data_pipelines import index_columns, ragged
from data_pipelines.index_columns import Documents


class Stream(NamedTuple):
    """All documents laid end to end, one after the other, in positions."""

    length: np.ndarray  # int64 [documents], positions of each
    base: np.ndarray  # int64 [documents], where each begins
    segment: np.ndarray  # int64 [segments], where each begins


def stream(documents: Documents) -> Stream:
    """Where documents and segments begin, in positions."""
    before = ragged.sums_before(documents.segment_tokens)
    bounds = before[documents.segment_start]
    count = len(documents.segment_start) - 1
    owner = np.repeat(np.arange(count), np.diff(documents.segment_start))
    length = np.diff(bounds) + 1
    base = bounds[:-1] + np.arange(count)
    return Stream(length, base, before[:-1] + owner + 1)


def sums(
    documents: Documents,
    stream: Stream,
    document: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
) -> np.ndarray:
    """STATS of the spans [start, stop) of documents, int32 [spans, len(STATS)]."""

    def between(values):
        return ragged.sums_before(values)[high] - ragged.sums_before(values)[low]

    low = _segments_before(documents, stream, document, start)
    high = _segments_before(documents, stream, document, stop)
    text = ~documents.segment_image
    inputs, targets = (
        _tokens_before(documents, stream, counted, document, stop + shift)
        - _tokens_before(documents, stream, counted, document, start + shift)
        for counted, shift in ((text, 0), (text & documents.segment_loss, 1))
    )
    last = stop == stream.length[document]
    targets = targets + (last & index_columns.end_has_loss(documents)[document])
    begins, positions = (start == 0).astype(np.int64), stop - start
    images = between(documents.segment_image)
    slots = between(documents.segment_slots)
    image_tokens = positions - inputs - begins
    columns = (begins, inputs, image_tokens, targets, images, slots, positions)
    return np.stack(columns, axis=1).astype(np.int32)


def _segments_before(
    documents: Documents, stream: Stream, document: np.ndarray, position: np.ndarray
) -> np.ndarray:
    """Number of segments of the source that begin before a position of a document."""
    ends = position >= stream.length[document]
    count = np.asarray(documents.segment_start)[document + ends]
    inside = (position > 0) & ~ends
    where = stream.base[document[inside]] + position[inside]
    count[inside] = np.searchsorted(stream.segment, where)
    return count


def _tokens_before(
    documents: Documents,
    stream: Stream,
    counted: np.ndarray,
    document: np.ndarray,
    position: np.ndarray,
) -> np.ndarray:
    """Tokens of the counted segments that stand before a position of a document."""
    count = _segments_before(documents, stream, document, position)
    tokens = np.where(counted, documents.segment_tokens, 0)
    total = ragged.sums_before(tokens)[count]
    inside = np.flatnonzero((position > 0) & (count > 0))
    last = count[inside] - 1  # the position may lie within this segment
    end = stream.segment[last] + documents.segment_tokens[last]
    where = stream.base[document[inside]] + position[inside]
    total[inside] -= np.where(counted[last], np.maximum(end - where, 0), 0)
    return total

"""A document as a stream of ids, and its place in a row.

A document is the stream x = BOS, segments, EOS; an image contributes its image ids.
Position i has x[i] as input and x[i + 1] as target:

    input    BOS  img  img   a    red  ball        (an image of 2 tokens, then text)
    target   img  img  a     red  ball EOS
    loss      .    .   yes   yes  yes  yes
    image     .    6    7     .    .    .          (its slot is 3: 3 * 2, 3 * 2 + 1)
    segment   4    4    4     4    4    4          (the row's 4th chunk)
    position  0    1    2     3    4    5

A chunk is a range of these columns. Tokens, targets and loss are made together for the
whole document and then cut, so a chunk's first input is the token before the cut.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.plan import Chunk
from data_pipelines.records import Segment, Text
from data_pipelines.tokenizer import Tokenizer
from mmjax.batch import NO_IMAGE, Batch


class Stream(NamedTuple):
    """A document's x, and what holds for each of its entries."""

    x: np.ndarray  # int32 [positions + 1]
    predicted: np.ndarray  # bool [positions + 1]: counts as a target
    image: np.ndarray  # int32 [positions + 1]: index in the group's image tokens
    lengths: np.ndarray  # int64 [segments]: entries of each


def encode(
    tokenizer: Tokenizer,
    segments: Sequence[Segment],
    image_lengths: Iterable[int],
    image_indices: dict[int, int],
) -> Stream:
    """The stream of a document.

    `image_lengths` has the positions of each image in reading order; `image_indices`
    the first index of an image by the number of its segment (without one: no image, as
    in parts of the document that lie in another row).
    """
    texts = [segment.text for segment in segments if isinstance(segment, Text)]
    encoded, lengths = iter(tokenizer.encode_all(texts)), iter(image_lengths)
    parts, predicted, ends = [[tokenizer.bos]], [False], False
    for segment in segments:
        if isinstance(segment, Text):
            parts.append(next(encoded))
            ends = segment.loss
        else:
            parts.append([tokenizer.image] * int(next(lengths)))
        predicted.append(isinstance(segment, Text) and segment.loss)
    parts.append([tokenizer.eos])
    predicted.append(ends)
    counts = np.array([len(part) for part in parts], np.int64)
    x = np.concatenate([np.asarray(part, np.int32) for part in parts])
    image = np.full(len(x), NO_IMAGE, np.int32)
    starts = np.cumsum(counts)
    for number, index in image_indices.items():
        start, stop = starts[number], starts[number + 1]
        image[start:stop] = np.arange(index, index + stop - start)
    return Stream(x, np.repeat(predicted, counts), image, counts[1:-1])


def lay(
    batch: Batch, row: int, at: int, segment: int, stream: Stream, chunk: Chunk
) -> None:
    """Writes a chunk of the stream into a row of the batch's only group, from `at`."""
    inputs = slice(chunk.start, chunk.stop)
    targets = slice(chunk.start + 1, chunk.stop + 1)
    length = chunk.stop - chunk.start
    here = (0, row, slice(at, at + length))
    batch.tokens_ZRT[here] = stream.x[inputs]
    batch.targets_ZRT[here] = stream.x[targets]
    batch.loss_mask_ZRT[here] = stream.predicted[targets]
    batch.segments_ZRT[here] = segment
    batch.positions_ZRT[here] = np.arange(length)
    batch.images_ZRT[here] = stream.image[inputs]

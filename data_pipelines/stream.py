"""Streams of ids: what a document becomes, and how it lies in a row of a group.

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

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.buffers import Recycler
from data_pipelines.records import Segment, Text
from data_pipelines.tokenizer import Tokenizer
from data_pipelines.windows import Chunk
from mmjax import config as config_lib
from mmjax.batch import NO_IMAGE, NO_TEXT, PAD_SEGMENT, Batch
from mmjax.config import Config


class Shape(NamedTuple):
    """The shape of a pool group."""

    rows: int  # R
    row_tokens: int  # T
    capacity: int  # C
    crop_positions: int  # Q, or 1 with cross-attention
    image_size: int  # h and w
    text_tokens: int = 0  # W


class Stream(NamedTuple):
    """A document's x, and what holds for each of its entries."""

    x: np.ndarray  # int32 [positions + 1]
    predicted: np.ndarray  # bool [positions + 1]: counts as a target
    image: np.ndarray  # int32 [positions + 1]: as in `Batch.images`
    lengths: list[int]  # entries of each segment


def encode(
    tokenizer: Tokenizer,
    segments: Sequence[Segment],
    image_lengths: Iterable[int],
    image_indices: Mapping[int, np.ndarray],
) -> Stream:
    """The stream of a document.

    `image_lengths` has the positions of each image in reading order; `image_indices`
    what stands there by the number of its segment, as in `Batch.images` (without: no
    image, as in parts of the document that lie in another row).
    """
    of_images = iter(image_lengths)
    texts = {
        number: tokenizer.encode(segment.text)
        for number, segment in enumerate(segments)
        if isinstance(segment, Text)
    }
    lengths = [
        len(texts[number]) if number in texts else next(of_images)
        for number in range(len(segments))
    ]
    entries = 1 + sum(lengths) + 1
    x = np.full(entries, tokenizer.image, np.int32)
    predicted = np.zeros(entries, np.bool_)
    image = np.full(entries, NO_IMAGE, np.int32)
    x[0], x[-1] = tokenizer.bos, tokenizer.eos
    start = 1
    for number, (segment, length) in enumerate(zip(segments, lengths)):
        stop = start + length
        if isinstance(segment, Text):
            x[start:stop] = texts[number]
            predicted[start:stop] = predicted[-1] = segment.loss
        elif number in image_indices:
            image[start:stop] = image_indices[number]
        start = stop
    return Stream(x, predicted, image, lengths)


def shape_of(config: Config, capacity: int) -> Shape:
    """The shape of the config's pool groups, at this capacity."""
    return Shape(
        rows=config.data.rows_per_pool,
        row_tokens=config.data.row_tokens,
        capacity=capacity,
        crop_positions=config_lib.crop_positions(config.model),
        image_size=config.model.vit.image_size,
        text_tokens=config_lib.text_tokens(config.model),
    )


def empty(
    groups: int, shape: Shape, pad: int, rows: int, slots: int, recycler: Recycler
) -> Batch:
    """Groups of nothing but padding; each has so many of the shape's rows and slots.

    The pixels are those of some earlier batch.
    """
    grid = (groups, rows, shape.row_tokens)
    square = (shape.image_size, shape.image_size, 3)
    return Batch(
        tokens_ZRT=np.full(grid, pad, np.int32),
        targets_ZRT=np.full(grid, pad, np.int32),
        loss_mask_ZRT=np.zeros(grid, np.bool_),
        segments_ZRT=np.full(grid, PAD_SEGMENT, np.int32),
        positions_ZRT=np.zeros(grid, np.int32),
        images_ZRT=np.full(grid, NO_IMAGE, np.int32),
        sources_ZRT=np.zeros(grid, np.int32),
        pixels_ZChwc=recycler.empty((groups, slots, *square)),
        real_ZC=np.zeros((groups, slots), np.bool_),
        texts_ZCW=np.full((groups, slots, shape.text_tokens), NO_TEXT, np.int32),
    )


def lay(
    batch: Batch, row: int, at: int, segment: int, stream: Stream, chunk: Chunk
) -> None:
    """Writes a chunk of the stream into a row of a batch of one group, from `at` on."""
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


def lay_nothing(batch: Batch, row: int, at: int, segment: int, chunk: Chunk) -> None:
    """Writes the place of a chunk that can't be read: padding, of a document."""
    length = chunk.stop - chunk.start
    here = (0, row, slice(at, at + length))
    batch.segments_ZRT[here] = segment
    batch.positions_ZRT[here] = np.arange(length)

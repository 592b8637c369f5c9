"""Streams: what is input, target and loss of a document, by hand."""

import numpy as np

from data_pipelines import stream
from data_pipelines.buffers import Recycler
from data_pipelines.records import Image, Text
from data_pipelines.windows import Chunk

PICTURE = Image(b"", 1, 1)
SHAPE = stream.Shape(rows=2, row_tokens=12, capacity=3, image_tokens=2, image_size=4)


def laid(world, segments, indices, chunk, at=0):
    """A batch with one chunk in row 1, as segment 5."""
    words = world.tokenizer
    batch = stream.empty(1, SHAPE, words.pad, 2, 3, Recycler())
    count = sum(isinstance(s, Image) for s in segments)
    document = stream.encode(words, segments, [2] * count, indices)
    stream.lay(batch, 1, at, 5, document, chunk)
    return document, batch


def test_the_drawing_in_the_docstring(world):
    words = world.tokenizer
    one, two, three = ([word] for word in words.encode("123"))
    assert len(words.encode("123")) == 3
    document, batch = laid(world, [PICTURE, Text("123")], {0: 6}, Chunk(0, 0, 6))
    image = [words.image]
    x = [words.bos, *image, *image, *one, *two, *three, words.eos]
    assert document.x.tolist() == x
    assert batch.tokens_ZRT[0, 1].tolist() == x[:-1] + [words.pad] * 6
    assert batch.targets_ZRT[0, 1].tolist() == x[1:] + [words.pad] * 6
    assert batch.loss_mask_ZRT[0, 1].tolist() == [False] * 2 + [True] * 4 + [False] * 6
    assert batch.images_ZRT[0, 1].tolist() == [-1, 6, 7, -1, -1, -1] + [-1] * 6
    assert batch.segments_ZRT[0, 1].tolist() == [5] * 6 + [0] * 6
    assert batch.positions_ZRT[0, 1].tolist() == [0, 1, 2, 3, 4, 5] + [0] * 6
    assert (batch.segments_ZRT[0, 0] == 0).all()
    assert (batch.tokens_ZRT[0, 0] == words.pad).all()


def test_a_cut_repeats_the_token_before_it_as_context(world):
    segments = [Text("12"), PICTURE, Text("34")]
    document, first = laid(world, segments, {1: 0}, Chunk(0, 0, 5))
    _, second = laid(world, segments, {}, Chunk(0, 5, 7), at=3)
    tokens = [*first.tokens_ZRT[0, 1, :5], *second.tokens_ZRT[0, 1, 3:5]]
    targets = [*first.targets_ZRT[0, 1, :5], *second.targets_ZRT[0, 1, 3:5]]
    assert tokens == document.x[:-1].tolist()
    assert targets == document.x[1:].tolist()
    assert second.tokens_ZRT[0, 1, 3] == first.targets_ZRT[0, 1, 4]
    assert second.positions_ZRT[0, 1, 3:5].tolist() == [0, 1]
    assert (second.images_ZRT == -1).all()


def test_loss_lies_on_text_with_a_flag_and_the_end_follows_the_last_text(world):
    question, answer = Text("12", loss=False), Text("34", loss=True)
    for segments, expected in (
        ([question, answer], "..**" + "*"),
        ([answer, question], "**.." + "."),
        ([answer, PICTURE], "**.." + "*"),
        ([PICTURE], ".." + "."),
        ([], "."),
        ([Text("", loss=True)], "*"),
    ):
        indices = {i: 0 for i, s in enumerate(segments) if s is PICTURE}
        stop = len(expected)
        _, batch = laid(world, segments, indices, Chunk(0, 0, stop))
        mask = batch.loss_mask_ZRT[0, 1, :stop]
        assert "".join(".*"[int(m)] for m in mask) == expected


def test_empty_groups_have_the_shape_and_types_of_a_batch():
    batch = stream.empty(5, SHAPE, 9, 2, 3, Recycler())
    assert batch.pixels_ZChwc.shape == (5, 3, 4, 4, 3)
    assert batch.pixels_ZChwc.dtype == np.uint8
    assert batch.tokens_ZRT.shape == (5, 2, 12)
    assert (batch.tokens_ZRT == 9).all()
    assert not batch.loss_mask_ZRT.any()
    assert not batch.real_ZC.any()

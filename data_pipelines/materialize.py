"""Planned rows to arrays: records read, tokenized, decoded, laid out in pool groups."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines import images, stream
from data_pipelines.chunks import Documents
from data_pipelines.plan import Chunk
from data_pipelines.pools import PlannedRow
from data_pipelines.records import Image, Segment
from data_pipelines.shards import ShardReader
from data_pipelines.stream import Stream
from data_pipelines.tokenizer import Tokenizer
from mmjax import config as config_lib
from mmjax.batch import Batch, Share
from mmjax.config import Config


class Corpus(NamedTuple):
    """One source's records, and the columns that its plan is made of."""

    name: str
    reader: ShardReader
    documents: Documents


class Materials(NamedTuple):
    """What turns planned rows into arrays. Picklable."""

    shape: stream.Shape
    tokenizer: Tokenizer
    corpora: tuple[Corpus | None, ...]  # by source; None: never drawn from


class Group(NamedTuple):
    """One pool group, or the box of it that a share holds."""

    batch: Batch  # Z = 1
    faults: tuple[tuple[int, int], ...]  # (source, document) of chunks with grey images


class _Places(NamedTuple):
    """The images of a chunk, one entry an image."""

    segment: np.ndarray  # number of the segment in its document
    slot: np.ndarray  # first slot in the group
    stop: int  # the first slot after them

    def indices(self, image_tokens: int) -> dict[int, int]:
        """Where the image tokens of each segment begin in the group's."""
        firsts = (self.slot * image_tokens).tolist()
        return dict(zip(self.segment.tolist(), firsts))


def assemble(
    materials: Materials, rows: Sequence[PlannedRow], share: Share | None = None
) -> Group:
    """The planned rows of one group as arrays, or the rows and slots of a share.

    Slots are numbered in row order, images in reading order. An image that can't be
    decoded is grey and its chunk's loss masked; a share therefore decodes the images of
    its rows even where another one holds their slots. Raises ValueError naming the
    shard and record where one is corrupt or hasn't the tokens that the index says.
    """
    shape = materials.shape
    low, high = share.rows if share else (0, shape.rows)
    box = share.slots if share else (0, shape.capacity)
    batch = stream.empty(shape, materials.tokenizer.pad, high - low, box[1] - box[0])
    faults, slot = [], 0
    for number, planned in enumerate(rows):
        row = number - low if low <= number < high else None
        if row is not None:
            batch.sources_ZR[0, row] = planned.source
        at = 0
        for segment, chunk in enumerate(planned.row.chunks, start=1):
            corpus = materials.corpora[planned.source]
            assert corpus is not None
            places = _places(corpus.documents, chunk, slot)
            held = max(slot, box[0]) < min(places.stop, box[1])
            slot = places.stop
            if row is None and not held:
                continue
            segments = _segments(corpus, chunk.document)
            good = _decode(batch, segments, places, box[0], row is not None)
            if row is None:
                continue
            document = _encode(materials, corpus, segments, chunk.document, places)
            if not good:
                document.predicted[:] = False
                faults.append((planned.source, chunk.document))
            stream.lay(batch, row, at, segment, document, chunk)
            at += chunk.stop - chunk.start
    return Group(batch, tuple(faults))


def documents_batch(
    config: Config,
    tokenizer: Tokenizer,
    documents: Sequence[Sequence[Segment]],
    complete: bool,
) -> Batch:
    """One document a row, in one group (Z = 1); slots a multiple of the config's.

    Without `complete` a document is a prompt: its last target, the end of the document,
    is padding without loss. Raises ValueError for a document that is longer than a row
    or has an image that can't be decoded.
    """
    pixels = [[s for s in d if isinstance(s, Image)] for d in documents]
    costs = [
        config_lib.image_cost(
            config.model,
            np.array([image.width for image in row], np.int64),
            np.array([image.height for image in row], np.int64),
        )
        for row in pixels
    ]
    slots = sum(int(cost.slots.sum()) for cost in costs)
    multiple = config.data.pool_multiple
    capacity = max(1, -(-slots // multiple)) * multiple
    shape = stream.shape_of(config, capacity)._replace(rows=len(documents))
    batch = stream.empty(shape, tokenizer.pad, shape.rows, capacity)
    slot = 0
    for row, (segments, cost) in enumerate(zip(documents, costs)):
        numbers = [i for i, s in enumerate(segments) if isinstance(s, Image)]
        firsts = slot + _before(cost.slots)
        places = _Places(np.array(numbers, np.int64), firsts[:-1], int(firsts[-1]))
        slot = places.stop
        if not _decode(batch, segments, places, 0, True):
            raise ValueError(f"document {row}: an image can't be decoded")
        indices = places.indices(shape.image_tokens)
        whole = stream.encode(tokenizer, segments, cost.positions, indices)
        length = len(whole.x) - 1
        if length > shape.row_tokens:
            raise ValueError(
                f"document {row}: {length} positions, a row has {shape.row_tokens} "
                "(data.row_tokens)"
            )
        if not complete:
            whole.x[-1], whole.predicted[-1] = tokenizer.pad, False
        stream.lay(batch, row, 0, 1, whole, Chunk(row, 0, length))
    return batch


def _places(documents: Documents, chunk: Chunk, slot: int) -> _Places:
    """The images whose positions lie in the chunk, in slots from `slot` on."""
    own = slice(*documents.segment_start[chunk.document : chunk.document + 2])
    start = 1 + _before(documents.segment_tokens[own])[:-1]  # position 0 is BOS
    inside = (start >= chunk.start) & (start < chunk.stop)
    segment = np.flatnonzero(inside & documents.segment_image[own])
    slots = slot + _before(documents.segment_slots[own][segment])
    return _Places(segment, slots[:-1], int(slots[-1]))


def _decode(
    batch: Batch, segments: Sequence[Segment], places: _Places, low: int, needed: bool
) -> bool:
    """Decodes images into the slots held, which start at `low`; False if one failed.

    Where it is `needed` to know, images of other slots are decoded, too.
    """
    held = batch.pixels_ZChwc.shape[1]
    good = True
    for segment, slot in zip(places.segment.tolist(), (places.slot - low).tolist()):
        image = segments[segment]
        assert isinstance(image, Image)
        if 0 <= slot < held:
            batch.real_ZC[0, slot] = True
            good &= images.decode(image.data, batch.pixels_ZChwc[0, slot])
        elif needed:
            square = np.empty(batch.pixels_ZChwc.shape[2:], np.uint8)
            good &= images.decode(image.data, square)
    return good


def _segments(corpus: Corpus, document: int) -> tuple[Segment, ...]:
    """The segments of a record, texts and images where the index has them."""
    segments = corpus.reader.document(document).segments
    own = slice(*corpus.documents.segment_start[document : document + 2])
    image = corpus.documents.segment_image[own]
    if [isinstance(s, Image) for s in segments] != image.tolist():
        raise _mismatch(corpus, document, "other segments than")
    return segments


def _encode(
    materials: Materials,
    corpus: Corpus,
    segments: Sequence[Segment],
    document: int,
    places: _Places,
) -> Stream:
    """The stream of a record, its tokens checked against the index."""
    columns = corpus.documents
    own = slice(*columns.segment_start[document : document + 2])
    tokens, image = columns.segment_tokens[own], columns.segment_image[own]
    indices = places.indices(materials.shape.image_tokens)
    result = stream.encode(materials.tokenizer, segments, tokens[image], indices)
    if not np.array_equal(result.lengths, tokens):
        found = f"segments of {result.lengths.tolist()} tokens instead of"
        raise _mismatch(corpus, document, f"{found} {tokens.tolist()} as")
    return result


def _mismatch(corpus: Corpus, document: int, found: str) -> ValueError:
    path, record = corpus.reader.place(document)
    return ValueError(
        f"{path}: record {record} has {found} in its index: the shard or the tokenizer "
        "changed, index again"
    )


def _before(values: np.ndarray) -> np.ndarray:
    """Sums of the values before each place, int64 [len(values) + 1]."""
    return np.concatenate([[0], np.cumsum(values, dtype=np.int64)])

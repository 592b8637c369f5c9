"""Planned rows to arrays: records read, tokenized, decoded, laid out in pool groups."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines import images, stream, wording
from data_pipelines.buffers import Recycler
from data_pipelines.faults import BadRecordError, Fault
from data_pipelines.index_columns import Documents
from data_pipelines.mixed import PlannedRow
from data_pipelines.records import Image, Segment
from data_pipelines.shard_reader import ShardReader
from data_pipelines.stream import Stream
from data_pipelines.tokenizer import Tokenizer
from data_pipelines.windows import Chunk
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
    mask_bad: bool = False  # a bad record loses its loss; otherwise it is an error


class _Places(NamedTuple):
    """The images of a chunk."""

    slots: dict[int, int]  # first slot in the group, by number of the segment
    stop: int  # the first slot after them

    def indices(self, image_tokens: int) -> dict[int, int]:
        """Where the image tokens of each segment begin in the group's."""
        return {segment: slot * image_tokens for segment, slot in self.slots.items()}


def assemble(
    materials: Materials, rows: Sequence[PlannedRow], share: Share, out: Batch
) -> list[Fault]:
    """Writes a share's rows and slots of one group into `out`, an empty one (Z = 1).

    Slots are numbered in row order, images in reading order. An image that can't be
    decoded is grey and its chunk's loss masked; a share therefore decodes the images of
    its rows even where another one holds their slots. A chunk of a record that is
    corrupt, or hasn't the tokens that the index says, is padding in all but `segments`
    and `positions`, and its slots are empty. Returns such chunks of its rows. Raises
    BadRecordError for the record instead, unless `mask_bad`.
    """
    low, high = share.rows
    first, stop = share.slots
    faults: list[Fault] = []
    slot = 0
    for number, planned in enumerate(rows):
        row = number - low if low <= number < high else None
        if row is not None:
            out.sources_ZRT[0, row] = planned.source
        at = 0
        chunks = zip(planned.of_chunks(), planned.row.chunks)
        for segment, (source, chunk) in enumerate(chunks, start=1):
            corpus = materials.corpora[source]
            assert corpus is not None
            places = _places(corpus.documents, chunk, slot)
            held = max(slot, first) < min(places.stop, stop)
            slot = places.stop
            if row is None and not held:
                continue
            document, reason = _read(materials, corpus, chunk.document, places)
            if document is not None and not _decode(
                out, document.segments, places, first, row is not None
            ):
                document.stream.predicted[:] = False
                reason = "image"
            if row is None:
                continue
            if reason:
                faults.append(Fault(source, chunk.document, reason, row, segment))
            if document is None:
                stream.lay_nothing(out, row, at, segment, chunk)
            else:
                stream.lay(out, row, at, segment, document.stream, chunk)
            out.sources_ZRT[0, row, at : at + chunk.stop - chunk.start] = source
            at += chunk.stop - chunk.start
    _clear(out)
    return faults


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
    pictures = [[s for s in d if isinstance(s, Image)] for d in documents]
    costs = [_costs(config, row) for row in pictures]
    used = sum(slots for row in costs for slots, _ in row)
    multiple = config.data.pool_multiple
    capacity = max(1, -(-used // multiple)) * multiple
    shape = stream.shape_of(config, capacity)._replace(rows=len(documents))
    batch = stream.empty(1, shape, tokenizer.pad, shape.rows, capacity, Recycler())
    slot = 0
    for row, (segments, cost) in enumerate(zip(documents, costs)):
        numbers = [i for i, s in enumerate(segments) if isinstance(s, Image)]
        slots = itertools.accumulate((slots for slots, _ in cost), initial=slot)
        *firsts, slot = slots
        places = _Places(dict(zip(numbers, firsts)), slot)
        if not _decode(batch, segments, places, 0, True):
            raise ValueError(f"document {row}: an image can't be decoded")
        indices = places.indices(shape.image_tokens)
        whole = stream.encode(tokenizer, segments, [n for _, n in cost], indices)
        length = len(whole.x) - 1
        if length > shape.row_tokens:
            raise ValueError(
                f"document {row}: {length} positions, a row has {shape.row_tokens} "
                "(data.row_tokens)"
            )
        if not complete:
            whole.x[-1], whole.predicted[-1] = tokenizer.pad, False
        stream.lay(batch, row, 0, 1, whole, Chunk(row, 0, length))
    _clear(batch)
    return batch


def _costs(config: Config, pictures: Sequence[Image]) -> list[tuple[int, int]]:
    """Slots and positions of each image."""
    width = np.array([image.width for image in pictures], np.int64)
    height = np.array([image.height for image in pictures], np.int64)
    cost = config_lib.image_cost(config.model, width, height)
    return list(zip(cost.slots.tolist(), cost.positions.tolist()))


def _columns(documents: Documents, document: int, column: np.ndarray) -> list:
    """A column's values for the segments of a document (lists: few and short)."""
    start, stop = documents.segment_start[document : document + 2].tolist()
    return column[start:stop].tolist()


def _places(documents: Documents, chunk: Chunk, slot: int) -> _Places:
    """The images whose positions lie in the chunk, in slots from `slot` on."""
    columns = (
        documents.segment_image, documents.segment_tokens, documents.segment_slots,
    )  # fmt: skip
    values = [_columns(documents, chunk.document, column) for column in columns]
    slots, position = {}, 1  # position 0 is BOS
    for number, (image, tokens, cost) in enumerate(zip(*values)):
        if image and chunk.start <= position < chunk.stop:
            slots[number] = slot
            slot += cost
        position += tokens
    return _Places(slots, slot)


def _decode(
    batch: Batch, segments: Sequence[Segment], places: _Places, low: int, needed: bool
) -> bool:
    """Decodes images into the slots held, which start at `low`; False if one failed.

    Where it is `needed` to know, images of other slots are decoded, too.
    """
    held = batch.pixels_ZChwc.shape[1]
    good = True
    for segment, slot in places.slots.items():
        image = segments[segment]
        assert isinstance(image, Image)
        if low <= slot < low + held:
            batch.real_ZC[0, slot - low] = True
            good &= images.decode(image.data, batch.pixels_ZChwc[0, slot - low])
        elif needed:
            square = np.empty(batch.pixels_ZChwc.shape[2:], np.uint8)
            good &= images.decode(image.data, square)
    return good


def _clear(batch: Batch) -> None:
    """Blackens the slots that hold no image."""
    batch.pixels_ZChwc[~batch.real_ZC] = 0


class _Read(NamedTuple):
    """A record that is as its index says."""

    segments: Sequence[Segment]
    stream: Stream


def _read(
    materials: Materials, corpus: Corpus, document: int, places: _Places
) -> tuple[_Read | None, str]:
    """A record and "", or None and what is wrong with it where that is masked.

    Whoever holds a row or a slot of it reads all of it, so that all find the same.
    """
    try:
        segments = _segments(corpus, document)
        return _Read(
            segments, _encode(materials, corpus, segments, document, places)
        ), ""
    except BadRecordError as error:
        if not materials.mask_bad:
            raise
        return None, error.reason


def _segments(corpus: Corpus, document: int) -> tuple[Segment, ...]:
    """The segments of a record as they are read: texts in the wording of the index."""
    segments = corpus.reader.document(document).segments
    columns = corpus.documents
    image = _columns(columns, document, columns.segment_image)
    if [isinstance(segment, Image) for segment in segments] != image:
        raise _mismatch(corpus, document, "other segments than")
    return wording.synthetic(segments) if columns.synthetic[document] else segments


def _encode(
    materials: Materials,
    corpus: Corpus,
    segments: Sequence[Segment],
    document: int,
    places: _Places,
) -> Stream:
    """The stream of a record, its tokens checked against the index."""
    columns = corpus.documents
    tokens = _columns(columns, document, columns.segment_tokens)
    of_images = [n for n, s in zip(tokens, segments) if isinstance(s, Image)]
    indices = places.indices(materials.shape.image_tokens)
    result = stream.encode(materials.tokenizer, segments, of_images, indices)
    if result.lengths != tokens:
        found = f"segments of {result.lengths} tokens instead of {tokens} as"
        raise _mismatch(corpus, document, found)
    return result


def _mismatch(corpus: Corpus, document: int, found: str) -> BadRecordError:
    path, record = corpus.reader.place(document)
    return BadRecordError(
        "mismatch",
        f"{path}: record {record} has {found} in its index: the shard or the tokenizer "
        "changed, index again",
    )

"""Packed rows as people read them: the arrays of a batch turned back into a flow.

A chunk of a document is shown as its entries x[0], ..., x[n]: the inputs of its n
positions, and the target of the last one (EOS, or where it was cut). An entry is
trained where it is a target that counts, so entries are marked as often as the batch
has loss.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines.batches import Pipeline
from data_pipelines.tokenizer import Tokenizer, piece
from mmjax.batch import NO_IMAGE, PAD_SEGMENT, Batch
from mmjax.config import Config


class Token(NamedTuple):
    """An entry of text, or of control."""

    text: str
    id: int
    position: int  # in the chunk
    trained: bool
    is_input: bool  # False: it stands in the row as a target only
    control: bool  # BOS, EOS or such


class Picture(NamedTuple):
    """An image slot, where it stands in a row."""

    group: int
    slot: int
    start: int  # positions [start, stop) of the chunk
    stop: int


class Chunk(NamedTuple):
    """A document, or the part of one, in a row."""

    segment: int
    document: int  # number in its source
    kind: str
    entries: tuple[Token | Picture, ...]
    positions: int


class Row(NamedTuple):
    """One row of a batch."""

    step: int
    group: int
    number: int  # in the group
    source: str
    chunks: tuple[Chunk, ...]
    positions: int  # used
    padding: int
    trained: int  # targets that count
    images: int


class Group(NamedTuple):
    """A pool group: some of its rows, and its slots."""

    step: int
    number: int
    rows: tuple[Row, ...]
    all_rows: int
    pixels_Chwc: np.ndarray  # uint8
    used: int  # slots that hold an image


def read(config: Config, opened: Pipeline, step: int, count: int) -> Iterator[Group]:
    """Yields the groups of `count` rows from the first one of batch `step` on.

    Raises ValueError where the run ends before.
    """
    batches = -(-count // config.data.rows_per_batch)
    if step < 0 or step + batches > opened.steps:
        raise ValueError(
            f"--step={step} --count={count}: batches {step} to {step + batches - 1} of "
            f"a run that has 0 to {opened.steps - 1} (config.steps)"
        )
    for number, batch in enumerate(opened.batches(step, step + batches), start=step):
        for z in range(len(batch.tokens_ZRT)):
            rows = min(count, config.data.rows_per_pool)
            if rows:
                yield group(config, opened, batch, number, z, rows)
            count -= rows


def group(
    config: Config, opened: Pipeline, batch: Batch, step: int, z: int, rows: int
) -> Group:
    """The first rows of group `z` of the batch of a step."""
    planned = opened.documents_of(step)[z]
    found = tuple(
        _row(config, opened, batch, step, (z, r), planned[r]) for r in range(rows)
    )
    used = int(batch.real_ZC[z].sum())
    return Group(step, z, found, len(planned), batch.pixels_ZChwc[z], used)


def _row(
    config: Config,
    opened: Pipeline,
    batch: Batch,
    step: int,
    place: tuple[int, int],
    documents: tuple[tuple[int, int], ...],
) -> Row:
    segments = batch.segments_ZRT[place]
    chunks = []
    for segment in range(1, int(segments.max()) + 1):
        source, document = documents[segment - 1]
        entries = chunk_entries(
            batch, place, segment, config.model.connector.tokens, opened.tokenizer
        )
        kind = opened.kind(source, document)
        length = int((segments == segment).sum())
        chunks.append(Chunk(segment, document, kind, tuple(entries), length))
    pictures = {e[:2] for c in chunks for e in c.entries if isinstance(e, Picture)}
    used = int((segments != PAD_SEGMENT).sum())
    return Row(
        step,
        *place,
        opened.names[int(batch.sources_ZRT[place][0])],
        tuple(chunks),
        used,
        len(segments) - used,
        int(batch.loss_mask_ZRT[place].sum()),
        len(pictures),
    )


def chunk_entries(
    batch: Batch,
    place: tuple[int, int],
    segment: int,
    image_tokens: int,
    tokenizer: Tokenizer,
) -> Iterator[Token | Picture]:
    """Yields the entries of one segment of the row at `place` (group, row)."""
    here = np.flatnonzero(batch.segments_ZRT[place] == segment)
    inputs, targets, loss, image = (
        array[place][here]
        for array in (
            batch.tokens_ZRT, batch.targets_ZRT, batch.loss_mask_ZRT, batch.images_ZRT,
        )
    )  # fmt: skip
    ids = [*inputs.tolist(), int(targets[-1])]
    trained = [False, *loss.tolist()]
    control = (tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.image)
    slots = np.where(image == NO_IMAGE, NO_IMAGE, image // image_tokens).tolist()
    runs = itertools.groupby(range(len(ids)), key=[*slots, NO_IMAGE].__getitem__)
    for slot, run in runs:
        numbers = list(run)
        if slot != NO_IMAGE:
            yield Picture(place[0], slot, numbers[0], numbers[-1] + 1)
            continue
        for n in numbers:
            text, is_input = piece(tokenizer, ids[n]), n < len(inputs)
            yield Token(text, ids[n], n, trained[n], is_input, ids[n] in control)

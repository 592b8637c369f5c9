"""Documents as an index describes them: columns over segments and documents."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines import ragged

# What is counted of every chunk, row, batch and run, in this order. text_tokens and
# image_tokens count inputs (BOS in neither: positions is the sum of the two and of
# documents), loss_tokens targets. A document counts where its first position lies.
STATS = (
    "documents",
    "text_tokens",
    "image_tokens",
    "loss_tokens",
    "images",
    "slots",
    "positions",
)
SLOTS, POSITIONS = STATS.index("slots"), STATS.index("positions")
LOSS_TOKENS = STATS.index("loss_tokens")

# What planning asks of every document, small enough to hold 10^8 of them.
TOTALS = np.dtype(
    [
        ("positions", "<i4"),
        ("image_tokens", "<i4"),
        ("loss_tokens", "<i4"),
        ("images", "<u2"),
        ("slots", "<u2"),
    ]
)


class Summary(NamedTuple):
    """What is known of all documents of a source together."""

    stats: tuple[int, ...]  # STATS
    image_positions: int  # of the largest image
    image_slots: int


class Documents(NamedTuple):
    """Columns over the segments and documents of one source, in record order."""

    segment_start: np.ndarray  # int64 [documents + 1]; first segment of each
    segment_tokens: np.ndarray  # int32 [segments]; an image's are its positions
    segment_image: np.ndarray  # bool [segments]
    segment_slots: np.ndarray  # int16 [segments]; 0 for text
    segment_loss: np.ndarray  # bool [segments]
    digest: str  # of the source's content and the tokenizer
    kind: np.ndarray  # uint8 [documents], place in kinds
    kinds: tuple[str, ...]
    synthetic: np.ndarray  # bool [documents]: read in its synthetic wording
    totals: np.ndarray | None = None  # TOTALS [documents], where they are known
    summary: "Summary | None" = None  # likewise
    folder: str = ""  # whose files the columns are mapped from; empty: in memory

    def __reduce__(self):
        """Another process maps the files itself."""
        if not self.folder:
            return Documents, tuple(self)
        from data_pipelines import columns  # which knows this class

        return columns.opened, (pathlib.Path(self.folder),)


def range_of(documents: Documents, start: int, stop: int) -> Documents:
    """Documents [start, stop), their columns as views."""
    first, end = documents.segment_start[[start, stop]].tolist()
    return _segments(documents, documents.segment_start[start : stop + 1], first, end)


def take(documents: Documents, numbers: np.ndarray) -> Documents:
    """The documents of these numbers, in this order."""
    first = documents.segment_start[numbers]
    counts = documents.segment_start[numbers + 1] - first
    where = ragged.ranges(first, counts)
    return documents._replace(
        segment_start=ragged.sums_before(counts),
        segment_tokens=documents.segment_tokens[where],
        segment_image=documents.segment_image[where],
        segment_slots=documents.segment_slots[where],
        segment_loss=documents.segment_loss[where],
        totals=None if documents.totals is None else documents.totals[numbers],
        summary=None,
        folder="",
    )


def join(parts: Sequence[Documents]) -> Documents:
    """The documents of several one after the other; only what packing needs of them."""
    totals = [part.totals for part in parts if part.totals is not None]
    starts, offset = [np.zeros(1, np.int64)], 0
    for part in parts:
        starts.append(part.segment_start[1:] + offset)
        offset += int(part.segment_start[-1])
    return parts[0]._replace(
        segment_start=np.concatenate(starts),
        segment_tokens=np.concatenate([part.segment_tokens for part in parts]),
        segment_image=np.concatenate([part.segment_image for part in parts]),
        segment_slots=np.concatenate([part.segment_slots for part in parts]),
        segment_loss=np.concatenate([part.segment_loss for part in parts]),
        totals=np.concatenate(totals) if len(totals) == len(parts) else None,
    )


def per_document(documents: Documents, values: np.ndarray) -> np.ndarray:
    """Sums of a column of segments over each document."""
    return np.diff(ragged.sums_before(values)[documents.segment_start])


def end_has_loss(documents: Documents) -> np.ndarray:
    """Whether EOS counts as a target: the last text of the document does."""
    count = len(documents.segment_tokens)
    last_text = np.maximum.accumulate(
        np.where(documents.segment_image, -1, np.arange(count))
    )
    first, stop = documents.segment_start[:-1], documents.segment_start[1:]
    loss = np.zeros(len(first), bool)
    filled = np.flatnonzero(stop > first)
    place = last_text[stop[filled] - 1]
    loss[filled] = (place >= first[filled]) & documents.segment_loss[place]
    return loss


def _segments(
    documents: Documents, starts: np.ndarray, first: int, end: int
) -> Documents:
    return documents._replace(
        segment_start=starts - first,
        segment_tokens=documents.segment_tokens[first:end],
        segment_image=documents.segment_image[first:end],
        segment_slots=documents.segment_slots[first:end],
        segment_loss=documents.segment_loss[first:end],
        totals=None,
        summary=None,
        folder="",
    )

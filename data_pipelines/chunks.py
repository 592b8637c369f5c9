"""Documents cut into chunks that fit a row.

A document is the stream x of BOS, its segments and EOS; position i has x[i] as input
and x[i + 1] as target. A chunk is a range of positions. Cutting at c makes x[c] the
last target of one chunk and the first input of the next: nothing lost or repeated.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

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
_PART = 1 << 20  # documents that are summed at a time


class Summary(NamedTuple):
    """What is known of all documents of a source together."""

    stats: tuple[int, ...]  # STATS
    image_positions: int  # of the largest image
    image_slots: int


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


def complete(documents: Documents) -> Documents:
    """The documents with their totals and summary, which take a pass over them all.

    Raises ValueError for a document with more images or slots than can be counted.
    """
    if documents.totals is not None and documents.summary is not None:
        return documents
    count = len(documents.segment_start) - 1
    found = np.empty(count, TOTALS)
    positions = slots = 0
    for start in range(0, count, _PART):
        part = range_of(documents, start, min(start + _PART, count))
        found[start : start + _PART] = _totals(part, start)
        image = part.segment_image
        positions = max(positions, int(part.segment_tokens[image].max(initial=0)))
        slots = max(slots, int(part.segment_slots[image].max(initial=0)))
    summary = Summary(tuple(stats(found).tolist()), positions, slots)
    return documents._replace(totals=found, summary=summary)


def stats(found: np.ndarray) -> np.ndarray:
    """STATS of all documents of these TOTALS together, int64 [len(STATS)]."""
    sums = {name: int(found[name].sum(dtype=np.int64)) for name in TOTALS.names or ()}
    text = sums["positions"] - sums["image_tokens"] - len(found)
    known = {"documents": len(found), "text_tokens": text, **sums}
    return np.array([known[name] for name in STATS], np.int64)


def range_of(documents: Documents, start: int, stop: int) -> Documents:
    """Documents [start, stop), their columns as views."""
    first, end = documents.segment_start[[start, stop]].tolist()
    return _segments(documents, documents.segment_start[start : stop + 1], first, end)


def take(documents: Documents, numbers: np.ndarray) -> Documents:
    """The documents of these numbers, in this order."""
    first = documents.segment_start[numbers]
    counts = documents.segment_start[numbers + 1] - first
    where = ranges(first, counts)
    return documents._replace(
        segment_start=sums_before(counts),
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
        part = range_of(documents, start, min(start + _PART, count))
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
    stream = _stream(documents)
    images = _per_document(documents, documents.segment_image)
    slots = _per_document(documents, documents.segment_slots)
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
    first = sums_before(counts)
    document = np.repeat(np.arange(len(counts)), counts)
    start = (np.arange(first[-1]) - first[document]) * layout.row_tokens
    for cut_document, starts in cuts.items():
        start[first[cut_document] : first[cut_document + 1]] = starts
    stop = np.empty_like(start)
    stop[:-1] = start[1:]
    stop[first[1:] - 1] = stream.length
    sums = _sums(documents, stream, document, start, stop)
    return Chunks(first, document, start, stop, sums)


def sums_before(values: np.ndarray) -> np.ndarray:
    """Sums of the values before each place, int64 [len(values) + 1]."""
    return np.concatenate([[0], np.cumsum(values, dtype=np.int64)])


def ranges(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """first[0], first[0] + 1, ... counts[0] numbers, then those of first[1], ..."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(first + counts - ends, counts) + np.arange(total)


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


def _totals(part: Documents, start: int) -> np.ndarray:
    """TOTALS of some documents, the first of which has this number."""
    tokens, image = part.segment_tokens, part.segment_image
    found = np.empty(len(part.segment_start) - 1, TOTALS)
    found["positions"] = _per_document(part, tokens) + 1
    found["image_tokens"] = _per_document(part, np.where(image, tokens, 0))
    loss = np.where(part.segment_loss & ~image, tokens, 0)
    found["loss_tokens"] = _per_document(part, loss) + _end_has_loss(part)
    for name, values in (("images", image), ("slots", part.segment_slots)):
        sums, most = _per_document(part, values), np.iinfo(TOTALS[name]).max
        if len(sums) and sums.max() > most:
            rule = f"{sums.max()} {name}, at most {most}"
            raise ValueError(f"document {start + int(sums.argmax())}: {rule}")
        found[name] = sums
    return found


def _per_document(documents: Documents, values: np.ndarray) -> np.ndarray:
    """Sums of a column of segments over each document."""
    return np.diff(sums_before(values)[documents.segment_start])


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


class _Stream(NamedTuple):
    """All documents laid end to end, one after the other, in positions."""

    length: np.ndarray  # int64 [documents], positions of each
    base: np.ndarray  # int64 [documents], where each begins
    segment: np.ndarray  # int64 [segments], where each begins


def _stream(documents: Documents) -> _Stream:
    before = sums_before(documents.segment_tokens)
    bounds = before[documents.segment_start]
    count = len(documents.segment_start) - 1
    owner = np.repeat(np.arange(count), np.diff(documents.segment_start))
    length = np.diff(bounds) + 1
    base = bounds[:-1] + np.arange(count)
    return _Stream(length, base, before[:-1] + owner + 1)


def _segments_before(
    documents: Documents, stream: _Stream, document: np.ndarray, position: np.ndarray
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
    stream: _Stream,
    counted: np.ndarray,
    document: np.ndarray,
    position: np.ndarray,
) -> np.ndarray:
    """Tokens of the counted segments that stand before a position of a document."""
    count = _segments_before(documents, stream, document, position)
    tokens = np.where(counted, documents.segment_tokens, 0)
    total = sums_before(tokens)[count]
    inside = np.flatnonzero((position > 0) & (count > 0))
    last = count[inside] - 1  # the position may lie within this segment
    end = stream.segment[last] + documents.segment_tokens[last]
    where = stream.base[document[inside]] + position[inside]
    total[inside] -= np.where(counted[last], np.maximum(end - where, 0), 0)
    return total


def _sums(
    documents: Documents,
    stream: _Stream,
    document: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
) -> np.ndarray:
    """STATS of the given chunks, int32 [chunks, len(STATS)]."""

    def between(values):
        return sums_before(values)[high] - sums_before(values)[low]

    low = _segments_before(documents, stream, document, start)
    high = _segments_before(documents, stream, document, stop)
    text = ~documents.segment_image
    inputs, targets = (
        _tokens_before(documents, stream, counted, document, stop + shift)
        - _tokens_before(documents, stream, counted, document, start + shift)
        for counted, shift in ((text, 0), (text & documents.segment_loss, 1))
    )
    last = stop == stream.length[document]
    targets = targets + (last & _end_has_loss(documents)[document])
    begins, positions = (start == 0).astype(np.int64), stop - start
    images = between(documents.segment_image)
    slots = between(documents.segment_slots)
    image_tokens = positions - inputs - begins
    columns = (begins, inputs, image_tokens, targets, images, slots, positions)
    return np.stack(columns, axis=1).astype(np.int32)


def _end_has_loss(documents: Documents) -> np.ndarray:
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

"""What planning asks of every document, and of all, found in a pass over them."""

import numpy as np

from data_pipelines import index_columns
from data_pipelines.index_columns import STATS, TOTALS, Documents, Summary

_PART = 1 << 20  # documents that are summed at a time


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
        part = index_columns.range_of(documents, start, min(start + _PART, count))
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


def _totals(part: Documents, start: int) -> np.ndarray:
    """TOTALS of some documents, the first of which has this number."""
    tokens, image = part.segment_tokens, part.segment_image
    per_document = index_columns.per_document
    found = np.empty(len(part.segment_start) - 1, TOTALS)
    found["positions"] = per_document(part, tokens) + 1
    found["image_tokens"] = per_document(part, np.where(image, tokens, 0))
    loss = np.where(part.segment_loss & ~image, tokens, 0)
    ends = index_columns.end_has_loss(part)
    found["loss_tokens"] = per_document(part, loss) + ends
    for name, values in (("images", image), ("slots", part.segment_slots)):
        sums, most = per_document(part, values), np.iinfo(TOTALS[name]).max
        if len(sums) and sums.max() > most:
            rule = f"{sums.max()} {name}, at most {most}"
            raise ValueError(f"document {start + int(sums.argmax())}: {rule}")
        found[name] = sums
    return found

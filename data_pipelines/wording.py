"""Which documents are read in their synthetic wording: a pure choice for each.

VeCap's recipe: a caption has two wordings, and every document is given one of them once
and for all, so token counts, plans and batches agree.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.records import Segment, Text


class Choice(NamedTuple):
    """What decides the wording of a source's documents."""

    share: float = 0.0  # of the documents with a synthetic wording that are read in it
    seed: int = 0
    source: str = ""  # name


def chosen(choice: Choice, documents: int) -> np.ndarray:
    """bool [documents]: which would be read in a synthetic wording, had they one.

    A document's value follows from the choice and its record number alone, and one that
    is chosen at some share is chosen at every larger one.
    """
    facts = repr(("wording", choice.seed, choice.source)).encode()
    key = int.from_bytes(hashlib.sha256(facts).digest()[:16])
    draws = np.random.Philox(key=key).random_raw(documents) >> np.uint64(11)
    return draws * 2.0**-53 < choice.share


def synthetic(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """The segments, each text in its synthetic wording where it has one."""
    return tuple(
        segment._replace(text=segment.synthetic)
        if isinstance(segment, Text) and segment.synthetic
        else segment
        for segment in segments
    )

"""Packing for loaders that have none: samples in their order, row after row.

A sample that doesn't fit the row opens the next one, as most training code does it. So
a batch ends between two samples, and going on needs their number alone.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from benchmarks.loaders.base import Packed, Sample, Setup
from mmjax.batch import NO_IMAGE


class Rows:
    """Batches of rows; `taken` counts the samples in those that were given out."""

    def __init__(self, samples: Iterable[Sample], setup: Setup, taken: int = 0):
        self.taken = taken
        self._samples = samples
        self._setup = setup

    def __iter__(self) -> Iterator[Packed]:
        rows: list[list[Sample]] = [[]]
        used = 0
        for sample in self._samples:
            if used + len(sample.tokens) > self._setup.row_tokens:
                if len(rows) == self._setup.rows:
                    yield self._give(rows)
                    rows = []
                rows.append([])
                used = 0
            rows[-1].append(sample)
            used += len(sample.tokens)

    def _give(self, rows: list[list[Sample]]) -> Packed:
        self.taken += sum(map(len, rows))
        return lay(rows, self._setup)


def lay(rows: list[list[Sample]], setup: Setup) -> Packed:
    """The arrays of some rows of samples."""
    grid = (setup.rows, setup.row_tokens)
    tokens, targets = np.zeros(grid, np.int32), np.zeros(grid, np.int32)
    segments, positions = np.zeros(grid, np.int32), np.zeros(grid, np.int32)
    images, loss = np.full(grid, NO_IMAGE, np.int32), np.zeros(grid, bool)
    count = 0
    for row, samples in enumerate(rows):
        start = 0
        for number, sample in enumerate(samples, start=1):
            here = (row, slice(start, start + len(sample.tokens)))
            tokens[here], targets[here] = sample.tokens, sample.targets
            loss[here], segments[here] = sample.loss, number
            positions[here] = np.arange(len(sample.tokens))
            first, length = start + 1, setup.image_tokens
            index = np.arange(count * length, (count + 1) * length)
            images[row, first : first + length] = index
            start += len(sample.tokens)
            count += 1
    pixels = np.stack([sample.pixels_hwc for row in rows for sample in row])
    arrays = (tokens, targets, loss, segments, positions, images, pixels)
    return Packed(arrays, count, int((segments > 0).sum()))

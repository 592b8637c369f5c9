"""torch DataLoader: a map-style dataset over jpg and txt files, seeded permutations.

Going on, the sampler begins further on in the permutation, which costs nothing.
"""

import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.loaders import base
from benchmarks.loaders.base import Opened, Photo, Sample, Setup
from benchmarks.loaders.rows import Rows

NEEDS = ("torch",)
NOTE = "exact"
_TOGETHER = 32  # samples that a worker hands over at a time


def write(photos: Iterable[Photo], setup: Setup) -> None:
    """Two files a photo."""
    folder = pathlib.Path(setup.folder)
    for number, photo in enumerate(photos):
        (folder / f"{number:08d}.jpg").write_bytes(photo.jpeg)
        (folder / f"{number:08d}.txt").write_text(photo.caption)


class Files:
    """The dataset, by number."""

    def __init__(self, setup: Setup):
        self._setup = setup
        self._words = setup.words()

    def __len__(self) -> int:
        return self._setup.documents

    def __getitem__(self, number: int) -> Sample:
        path = pathlib.Path(self._setup.folder) / f"{number:08d}"
        jpeg = path.with_suffix(".jpg").read_bytes()
        caption = path.with_suffix(".txt").read_text()
        return base.sample(self._setup, self._words, Photo(jpeg, caption))


def collate(samples: list[Sample]) -> tuple[list[Sample], Any]:
    """Samples without their pixels, and these as one tensor (in shared memory)."""
    import torch

    pixels = torch.from_numpy(np.stack([sample.pixels_hwc for sample in samples]))
    return [sample._replace(pixels_hwc=np.empty(0)) for sample in samples], pixels


def open(setup: Setup, state: Any) -> Opened:
    """Batches; the state is the number of samples that were taken."""
    import torch.utils.data

    taken = state or 0
    generator = torch.Generator().manual_seed(setup.seed)
    order = torch.randperm(setup.documents, generator=generator).tolist()
    loader = torch.utils.data.DataLoader(
        Files(setup),  # pyright: ignore[reportArgumentType]
        batch_size=_TOGETHER,
        sampler=order[taken:],
        num_workers=setup.workers,
        collate_fn=collate,
    )

    def samples():
        for parts, pixels in loader:
            for sample, pixels_hwc in zip(parts, pixels.numpy()):
                yield sample._replace(pixels_hwc=pixels_hwc)

    rows = Rows(samples(), setup, taken)
    return Opened(iter(rows), lambda: rows.taken)

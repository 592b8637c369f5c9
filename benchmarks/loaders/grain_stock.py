"""grain: its own ArrayRecord source, global shuffle, threads and first-fit packer.

The photos are packed as a feature beside the tokens, so a row has a fixed number of
slots for them; its shards are ours, which its source reads as they are.
"""

import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.loaders import base
from benchmarks.loaders.base import Opened, Packed, Photo, Setup
from data_pipelines import records

NEEDS = ("grain",)
NOTE = "exact; packs a bin again"
_BINS = 8


def write(photos: Iterable[Photo], setup: Setup) -> None:
    """Nothing: it reads the prepared shards."""


def open(setup: Setup, state: Any) -> Opened:
    """Batches; the state is the library's."""
    import grain

    shards = pathlib.Path(setup.root, "captions", "train").glob("*.array_record")
    source = grain.sources.ArrayRecordDataSource(sorted(map(str, shards)))
    words = setup.words()

    def make(record: bytes) -> dict[str, np.ndarray]:
        image, text = records.decode(record).segments
        photo = Photo(image.data, text.text)  # pyright: ignore[reportAttributeAccessIssue]
        sample = base.sample(setup, words, photo)
        return {
            "tokens": sample.tokens,
            "targets": sample.targets,
            "loss": sample.loss,
            "pixels": sample.pixels_hwc[None],
        }

    limits = dict.fromkeys(("tokens", "targets", "loss"), setup.row_tokens)
    limits["pixels"] = setup.row_tokens // setup.image_tokens
    parsed = grain.MapDataset.source(source).shuffle(seed=setup.seed).map(make)
    packed = grain.experimental.FirstFitPackIterDataset(
        parsed.to_iter_dataset(), length_struct=limits, num_packing_bins=_BINS
    )
    iterator = iter(packed.batch(setup.rows))
    if state is not None:
        iterator.set_state(state)
    return Opened(map(_count, iterator), iterator.get_state)


def _count(batch: dict[str, np.ndarray]) -> Packed:
    images = batch["pixels_segment_ids"] > 0
    return Packed(
        batch, int(images.sum()), int((batch["tokens_segment_ids"] > 0).sum())
    )

"""grain: its own ArrayRecord source, global shuffle, threads and first-fit packer.

Encoded photos travel through the packer as meta features and are decoded in their rows,
which costs less CPU time than packing pixels (measured: two thirds). A row has a fixed
number of slots for them. The shards are ours, which its source reads as they are.
"""

import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.loaders import base
from benchmarks.loaders.base import Opened, Packed, Photo, Setup
from data_pipelines import records
from data_pipelines.records import Image, Text

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
    slots = setup.row_tokens // setup.image_tokens
    shape = (slots, setup.image_size, setup.image_size, 3)

    def make(record: bytes) -> dict[str, Any]:
        image, text = records.decode(record).segments
        assert isinstance(image, Image)
        assert isinstance(text, Text)
        known = base.tokens(setup, words, text.text)
        return {**known._asdict(), "jpeg": image.data}

    def decode(row: dict[str, Any]) -> dict[str, np.ndarray]:
        photos = row.pop("jpeg")
        pixels_Chwc = np.zeros(shape, np.uint8)
        for jpeg, out_hwc in zip(photos, pixels_Chwc):
            base.decode(setup, jpeg, out_hwc)
        return {**row, "pixels": pixels_Chwc, "real": np.arange(slots) < len(photos)}

    limits = dict.fromkeys(base.Tokens._fields, setup.row_tokens)
    parsed = grain.MapDataset.source(source).shuffle(seed=setup.seed).map(make)
    packed = grain.experimental.FirstFitPackIterDataset(
        parsed.to_iter_dataset(),
        length_struct=limits,
        num_packing_bins=_BINS,
        meta_features=("jpeg",),
    )
    iterator = iter(packed.map(decode).batch(setup.rows))
    if state is not None:
        iterator.set_state(state)
    return Opened(map(_count, iterator), iterator.get_state)


def _count(batch: dict[str, np.ndarray]) -> Packed:
    tokens = int((batch["tokens_segment_ids"] > 0).sum())
    return Packed(batch, int(batch["real"].sum()), tokens)

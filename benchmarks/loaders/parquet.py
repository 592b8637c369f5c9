"""Hugging Face datasets: streamed parquet files with an Image column.

The column is read with decode=False, so that the decoder is the same as everywhere;
by default it is Pillow. `state_dict` is what its documentation recommends to go on; the
samples of the shuffle buffer are lost then, as it says.
"""

import itertools
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.loaders import base
from benchmarks.loaders.base import Opened, Photo, Setup
from benchmarks.loaders.rows import Rows

NEEDS = ("datasets", "torch")  # torch, as the library imports it where it can
NOTE = "state_dict; loses the shuffle buffer"
_A_FILE = 1000  # samples
_BUFFER = 1000  # samples that are shuffled together, its default


def write(photos: Iterable[Photo], setup: Setup) -> None:
    """Parquet files of 1000 photos."""
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "caption": datasets.Value("string")}
    )
    datasets.disable_progress_bars()
    known = list(photos)
    for start in range(0, len(known), _A_FILE):
        part = known[start : start + _A_FILE]
        columns = {
            "image": [{"bytes": photo.jpeg, "path": None} for photo in part],
            "caption": [photo.caption for photo in part],
        }
        path = pathlib.Path(setup.folder) / f"photos-{start:08d}.parquet"
        datasets.Dataset.from_dict(columns, features=features).to_parquet(path)


def open(setup: Setup, state: Any) -> Opened:
    """Batches; the state is the library's."""
    import datasets

    files = sorted(map(str, pathlib.Path(setup.folder).glob("*.parquet")))
    words = setup.words()

    def make(row: dict) -> dict:
        photo = Photo(row["image"]["bytes"], row["caption"])
        return base.sample(setup, words, photo)._asdict()

    streamed = datasets.load_dataset(
        "parquet", data_files=files, split="train", streaming=True,
        cache_dir=setup.folder + "/cache",
    )  # fmt: skip
    streamed = (
        streamed.cast_column("image", datasets.Image(decode=False))
        .shuffle(seed=setup.seed, buffer_size=_BUFFER)
        .map(make, remove_columns=["image", "caption"])
    )
    if state is not None:
        streamed.load_state_dict(state)

    def samples() -> Iterator[base.Sample]:
        # Going on near the end of an epoch may find nothing beside the lost buffer.
        for epoch in itertools.count():
            streamed.set_epoch(epoch)
            yield from (base.Sample(**sample) for sample in streamed)

    rows = Rows(samples(), setup)
    return Opened(iter(rows), streamed.state_dict)

"""webdataset: tar files of jpg and txt, read in order through a shuffle buffer.

It keeps no state. Its maintainers recommend `slice` to whoever wants to go on where a
run ended (issue 177 of webdataset), here of encoded samples, so that what is skipped is
read but not decoded.
"""

import pathlib
from collections.abc import Iterable
from typing import Any

from benchmarks.loaders import base
from benchmarks.loaders.base import Opened, Photo, Setup
from benchmarks.loaders.rows import Rows

NEEDS = ("webdataset", "torch")  # torch, as the library imports it where it can
NOTE = "skips what was read"
_A_SHARD = 1000  # samples
_BUFFER = 1000  # samples that are shuffled together, as in its documentation


def write(photos: Iterable[Photo], setup: Setup) -> None:
    """Tar files of 1000 photos."""
    import webdataset

    pattern = str(pathlib.Path(setup.folder) / "photos-%05d.tar")
    with webdataset.ShardWriter(pattern, maxcount=_A_SHARD, verbose=0) as writer:
        for number, photo in enumerate(photos):
            key = f"{number:08d}"
            writer.write({"__key__": key, "jpg": photo.jpeg, "txt": photo.caption})


def open(setup: Setup, state: Any) -> Opened:
    """Batches; the state is the number of samples that were taken."""
    import webdataset

    urls = sorted(map(str, pathlib.Path(setup.folder).glob("*.tar")))
    words, taken = setup.words(), state or 0

    def make(pair: tuple[bytes, bytes]) -> base.Sample:
        jpeg, caption = pair
        return base.sample(setup, words, Photo(jpeg, caption.decode()))

    samples = (
        webdataset.WebDataset(urls, shardshuffle=100, detshuffle=True, seed=setup.seed)
        .shuffle(_BUFFER, seed=setup.seed)
        .slice(taken, None)
        .to_tuple("jpg", "txt")
        .map(make)
    )
    rows = Rows(samples, setup, taken)
    return Opened(iter(rows), lambda: rows.taken)

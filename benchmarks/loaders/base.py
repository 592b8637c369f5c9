"""What every loader of the comparison is given and gives: one task, one interface.

The task: captioned photos, shuffled, each decoded and warped to a square, its caption
tokenized, packed into rows of tokens with targets, loss mask, segments and positions.
A loader is a module with `NEEDS` (packages), `NOTE` (a phrase for the table), `write`
(makes its files of the photos) and `open`, as `Loader` says.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import PIL.Image

from data_pipelines import images, tokenizer
from data_pipelines.tokenizer import Tokenizer


class Photo(NamedTuple):
    """One document of the corpus."""

    jpeg: bytes
    caption: str


class Setup(NamedTuple):
    """Where a loader's files are, and what batches are wanted. Fit for JSON."""

    root: str  # the prepared corpus, with tokenizer.model
    folder: str  # the loader's own files
    documents: int
    image_size: int
    image_tokens: int  # positions of an image
    row_tokens: int
    rows: int  # of a batch
    seed: int
    workers: int  # processes, where the loader has some
    decoder: str  # one of DECODERS

    def words(self) -> Tokenizer:
        return tokenizer.open(tokenizer.in_folder(self.root))


class Sample(NamedTuple):
    """A document ready to be packed; arrays of its positions, and its photo."""

    tokens: np.ndarray  # int32
    targets: np.ndarray  # int32
    loss: np.ndarray  # bool
    pixels_hwc: np.ndarray  # uint8


class Packed(NamedTuple):
    """A batch: whatever holds the arrays, and what is counted of it."""

    arrays: Any
    images: int
    tokens: int  # positions of documents


class Opened(NamedTuple):
    """A loader that runs."""

    batches: Iterator[Packed]
    state: Callable[[], Any]  # what `open` needs to go on after the last batch taken


class Loader(Protocol):
    """The module of a loader."""

    NEEDS: tuple[str, ...]
    NOTE: str

    def write(self, photos: Iterable[Photo], setup: Setup) -> None: ...

    def open(self, setup: Setup, state: Any) -> Opened: ...


class Tokens(NamedTuple):
    """The arrays of a document's positions."""

    tokens: np.ndarray  # int32
    targets: np.ndarray  # int32
    loss: np.ndarray  # bool


def tokens(setup: Setup, words: Tokenizer, caption: str) -> Tokens:
    """A photo's positions and those of its caption."""
    ids = words.encode(caption)
    stream = [words.bos, *[words.image] * setup.image_tokens, *ids, words.eos]
    x = np.array(stream, np.int32)
    predicted = np.ones(len(x), bool)
    predicted[: setup.image_tokens + 1] = False
    return Tokens(x[:-1], x[1:], predicted[1:])


def sample(setup: Setup, words: Tokenizer, photo: Photo) -> Sample:
    """The sample of a photo."""
    pixels_hwc = np.empty((setup.image_size, setup.image_size, 3), np.uint8)
    decode(setup, photo.jpeg, pixels_hwc)
    return Sample(*tokens(setup, words, photo.caption), pixels_hwc)


def decode(setup: Setup, jpeg: bytes, out_hwc: np.ndarray) -> None:
    """Writes a photo into a square, by the decoder of the setup."""
    if not DECODERS[setup.decoder](jpeg, out_hwc):
        raise ValueError("a photo can't be decoded")


def _pillow(jpeg: bytes, out_hwc: np.ndarray) -> bool:
    size = out_hwc.shape[:2]
    with PIL.Image.open(io.BytesIO(jpeg)) as opened:
        small = opened.convert("RGB").resize(size, PIL.Image.Resampling.BICUBIC)
    out_hwc[...] = np.asarray(small)
    return True


DECODERS = {
    "fast": images.decode,  # ours: simplejpeg and OpenCV
    "pillow": _pillow,  # what the documentation of the others uses
}

"""A small prepared corpus, as the preparation would leave it."""

import functools
import io
import pathlib
import sys
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import PIL.Image

from data_pipelines import index, shards, stream, tokenizer
from data_pipelines.buffers import Recycler
from data_pipelines.faults import Fault
from data_pipelines.records import Document, Image, Text
from mmjax import config as config_lib
from mmjax.batch import Batch
from mmjax.config import Config, Source

WORDS = ["a", "red", "blue", "small", "large", "ball", "cube", "lies", "near", "17"]


class World(NamedTuple):
    """Where the corpus lies, and what it holds."""

    root: str
    documents: dict[str, list[Document]]  # by folder
    tokenizer: tokenizer.Tokenizer

    def config(self, **data) -> Config:
        """Rows of 64 tokens, images of 4; data fields as given."""
        fields = {
            "root": self.root,
            "sources": (Source("captions"), Source("interleaved"), Source("text")),
            "row_tokens": 64,
            "rows_per_batch": 8,
            "rows_per_pool": 4,
            "pool_multiple": 4,
            "pack_window": 16,
            "block_batches": 4,
            "threads": 2,
            **data,
        }
        model = config_lib.Model(
            vit=config_lib.ViT(image_size=16, patch_size=8),
            connector=config_lib.Connector(tokens=4),
            decoder=config_lib.Decoder(vocab_size=self.tokenizer.vocab_size),
        )
        mixture = config_lib.Mixture(weights=(45, 45, 10))
        return Config(
            steps=12, model=model, data=config_lib.Data(**fields), mixture=mixture
        )


def make(root: pathlib.Path) -> World:
    """Three sources, train and heldout, with tokenizer and indexes."""
    folders = {}
    for seed, (split, scale) in enumerate({"train": 2, "heldout": 1}.items()):
        for name, documents in _documents(seed, scale).items():
            folders[f"{name}/{split}"] = documents
    texts = [
        segment.text
        for documents in folders.values()
        for document in documents
        for segment in document.segments
        if isinstance(segment, Text)
    ]
    words = tokenizer.train(texts, root / "tokenizer.model", 320)
    for folder, documents in folders.items():
        shards.write(root / folder, documents, 3)
        index.build(root / folder, words)
    return World(str(root), folders, words)


def equal(one: Iterable[np.ndarray], two: Iterable[np.ndarray]) -> bool:
    """Whether batches are the same, byte for byte."""
    pairs = zip(one, two, strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def _documents(seed: int, scale: int) -> dict[str, list[Document]]:
    """Captions, long and short interleaved documents, texts; by source."""
    rng = np.random.default_rng(seed)
    captions = [
        Document((_jpeg(rng), _text(rng, int(rng.integers(1, 9)))), kind=kind)
        for kind in ("short", "long")
        for _ in range(20 * scale)
    ]
    interleaved = []
    for _ in range(12 * scale):
        segments = []
        for _ in range(int(rng.integers(1, 7))):
            segments.append(_text(rng, int(rng.integers(0, 20)), rng.random() < 0.8))
            segments += [_jpeg(rng) for _ in range(int(rng.integers(0, 4)))]
        interleaved.append(Document(tuple(segments)))
    texts = [
        Document((_text(rng, int(rng.integers(1, 90))),)) for _ in range(12 * scale)
    ]
    return {"captions": captions, "interleaved": interleaved, "text": texts}


def _text(rng: np.random.Generator, words: int, loss: bool = True) -> Text:
    return Text(" ".join(rng.choice(WORDS, words)) + "\n", loss)


def _jpeg(rng: np.random.Generator) -> Image:
    """A small image of two colours."""
    width, height = (int(side) for side in rng.integers(12, 40, 2))
    pixels_hwc = np.tile(rng.integers(0, 256, 3).astype(np.uint8), (height, width, 1))
    pixels_hwc[: height // 2] = rng.integers(0, 256, 3)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels_hwc).save(file, "JPEG")
    return Image(file.getvalue(), width, height)


def fill_with_backends(number: int, out: Batch) -> list[Fault]:
    """Writes its number; the fault has (jax backends of this process, number)."""
    xla_bridge = sys.modules.get("jax._src.xla_bridge")
    out.tokens_ZRT[:] = number
    backends = len(xla_bridge._backends) if xla_bridge else 0
    return [Fault(backends, number, "image", 0, 1)]


empty_batch = functools.partial(
    stream.empty,
    shape=stream.Shape(1, 4, 1, 1, 2),
    pad=0,
    rows=1,
    slots=1,
    recycler=Recycler(),
)

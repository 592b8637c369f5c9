"""What prepared folders hold: sizes, distributions, labels, and images held twice.

Totals and sizes come from manifests and indexes, so they are exact; what only a record
knows (content of images, languages, wordings) is counted over the documents read.
"""

import collections
import hashlib
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import bars, index, records
from data_pipelines.inspect import folders, histograms
from data_pipelines.inspect.histograms import Histogram
from data_pipelines.records import Image
from data_pipelines.shard_reader import ShardReader
from data_pipelines.tokenizer import Tokenizer

_BAR_AFTER = 5.0  # seconds


class Sizes(NamedTuple):
    """The columns of a folder's index, joined."""

    tokens: np.ndarray  # int64 [documents], text tokens of each
    images: np.ndarray  # int64 [documents], images of each
    width: np.ndarray  # int32 [images], pixels
    height: np.ndarray


class Contents(NamedTuple):
    """What the documents that were read are made of."""

    documents: collections.Counter[bytes]  # by id
    images: collections.Counter[bytes]  # by hash of the encoded bytes
    languages: collections.Counter[str]  # documents by meta["lang"], "" without one
    image_bytes: int
    texts: int
    reworded: int  # texts that have a synthetic wording as well


class Folder(NamedTuple):
    """A prepared folder, measured."""

    name: str
    manifest: dict[str, Any]
    sizes: Sizes
    contents: Contents

    @property
    def read(self) -> int:
        """Documents read, of manifest["records"]."""
        return self.contents.documents.total()


class Shared(NamedTuple):
    """What two folders both hold."""

    first: str
    second: str
    images: int  # different ones
    documents: int
    leak: bool  # one of the two is trained on, the other held out


def measure(root: str, name: str, tokenizer: Tokenizer, limit: int) -> Folder:
    """A prepared folder of `root`; at most `limit` documents are read (0: all).

    Raises ValueError where it is damaged, or has no index for the tokenizer.
    """
    reader = ShardReader(pathlib.Path(root) / name)
    sizes = read_sizes(reader.directory, reader.manifest, tokenizer)
    numbers = folders.sample(len(reader), limit).tolist()
    bar = bars.bar(numbers, f"reading {name}", delay=_BAR_AFTER, unit="document")
    return Folder(name, reader.manifest, sizes, _contents(reader, bar))


def read_sizes(
    directory: pathlib.Path, manifest: dict[str, Any], tokenizer: Tokenizer
) -> Sizes:
    """Sizes of all documents and images of a folder, from its index."""
    parts = []
    for info in manifest["shards"]:
        columns = index.load_shard(directory, info, tokenizer)
        image, segments = columns["image"], columns["segments"]
        owner = np.repeat(np.arange(len(segments)), segments)
        per_document = (
            np.bincount(owner, values, len(segments)).astype(np.int64)
            for values in (np.where(image, 0, columns["tokens"]), image)
        )
        sides = columns["width"][image], columns["height"][image]
        parts.append((*per_document, *sides))
    if not parts:
        return Sizes(*(np.zeros(0, np.int64) for _ in Sizes._fields))
    return Sizes(*map(np.concatenate, zip(*parts)))


def _contents(reader: ShardReader, numbers: Iterable[int]) -> Contents:
    documents, images, languages = (collections.Counter() for _ in range(3))
    image_bytes = texts = reworded = 0
    for number in numbers:
        document = reader.document(number)
        documents[records.document_id(document)] += 1
        languages[str(document.meta.get("lang") or "")] += 1
        for segment in document.segments:
            if isinstance(segment, Image):
                key = hashlib.blake2b(segment.data, digest_size=16).digest()
                images[key] += 1
                image_bytes += len(segment.data)
            else:
                texts += 1
                reworded += bool(segment.synthetic)
    return Contents(documents, images, languages, image_bytes, texts, reworded)


def repeated(folder: Folder) -> int:
    """Images read that are an exact copy of another one of the same folder."""
    images = folder.contents.images
    return images.total() - len(images)


def shared(found: Sequence[Folder]) -> list[Shared]:
    """Pairs of folders that have images or documents in common."""
    pairs = []
    for place, one in enumerate(found):
        for other in found[place + 1 :]:
            images = len(one.contents.images.keys() & other.contents.images.keys())
            documents = len(
                one.contents.documents.keys() & other.contents.documents.keys()
            )
            leak = folders.is_training(one.name) != folders.is_training(other.name)
            if images or documents:
                pairs.append(Shared(one.name, other.name, images, documents, leak))
    return pairs


def distributions(folder: Folder) -> dict[str, Histogram]:
    """By what is measured: tokens, images, sides and aspect of images."""
    sizes = folder.sizes
    width, height = (np.asarray(s, np.int64) for s in (sizes.width, sizes.height))
    return {
        "text tokens of a document": histograms.of_counts(sizes.tokens),
        "images of a document": histograms.of_counts(sizes.images),
        "longer side of an image": histograms.of_counts(np.maximum(width, height)),
        "width / height of an image": histograms.of_ratios(width / height),
    }


def totals(found: Sequence[Folder]) -> dict[str, int]:
    """Documents, images, characters, tokens and bytes of all folders together."""
    summed = {
        name: sum(f.manifest[key] for f in found)
        for name, key in (
            ("documents", "records"), ("images", "images"),
            ("characters", "characters"), ("bytes", "bytes"),
        )
    }  # fmt: skip
    return {**summed, "tokens": sum(int(f.sizes.tokens.sum()) for f in found)}

"""The pipeline of a config: its prepared corpora opened and planned."""

import functools
import logging
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from data_pipelines import (
    column_cache,
    deadline,
    machine,
    paths,
    plan,
    pools,
    stream,
)
from data_pipelines import tokenizer as tokenizer_lib
from data_pipelines.batches import Pipeline
from data_pipelines.faults import Limits
from data_pipelines.loader import Reading
from data_pipelines.materialize import Corpus, Materials
from data_pipelines.plan import SourcePlan
from data_pipelines.pools import GlobalPlan
from data_pipelines.shard_reader import ShardReader
from data_pipelines.tokenizer import Tokenizer
from data_pipelines.wording import Choice
from mmjax.config import Config

log = logging.getLogger(__name__)


def open(
    config: Config,
    cache: str | pathlib.Path | None = None,
    known: Mapping[str, Any] | None = None,
) -> Pipeline:
    """The training data of a config.

    `cache` is a folder that keeps large plans and the columns of large sources; None:
    they are made again. `known` is what `GlobalPlan.known` told a checkpoint to go on
    from. Raises ValueError, one line, where the root, a source that has weight, its
    manifest or the tokenizer is missing or damaged (a damaged shard is borne with
    data.on_bad_record="mask"), where tokenizer, shards and model don't match, where
    storage doesn't answer, or where the images don't fit the pools.
    """
    tokenizer = open_tokenizer(config)
    used = pools.used_sources(config)
    folders = [
        _Place(
            source.path or f"{source.name}/train",
            Choice(source.synthetic, config.data.seed, source.name),
        )
        if opened
        else None
        for source, opened in zip(config.data.sources, used)
    ]
    return _open(config, tokenizer, folders, cache, known, finite=False, limit=0)


def open_heldout(config: Config, folders: Sequence[str], rows: int) -> Pipeline:
    """One pass over prepared folders (relative to data.root), to measure with.

    Of each folder at most `rows` rows (0: all of them), every text in its own wording,
    whatever the share of synthetic ones in training. The pipeline has a capacity of
    its own, and `steps` batches, the last one filled up with empty rows. Raises
    ValueError as `open` does. What is measured is never masked: a bad record stops it.
    """
    tokenizer = open_tokenizer(config)
    named = [_Place(folder, Choice(source=folder)) for folder in folders]
    return _open(config, tokenizer, named, None, None, finite=True, limit=rows)


def open_tokenizer(config: Config) -> Tokenizer:
    """The tokenizer of a config; ValueError if missing, or larger than the model."""
    data = config.data
    tokenizer = deadline.within(
        data.open_timeout, functools.partial(_tokenizer, data.root, data.tokenizer)
    )
    size = config.model.decoder.vocab_size
    if tokenizer.vocab_size > size:
        raise ValueError(
            f"model.decoder.vocab_size={size}: tokenizer {tokenizer.path} has "
            f"{tokenizer.vocab_size} ids; set at least as many"
        )
    return tokenizer


class _Place(NamedTuple):
    """Where the documents of a source lie, and in which wording they are read."""

    folder: str
    choice: Choice  # with the source's name


def _open(
    config: Config,
    tokenizer: Tokenizer,
    folders: Sequence[_Place | None],
    cache: str | pathlib.Path | None,
    known: Mapping[str, Any] | None,
    finite: bool,
    limit: int,
) -> Pipeline:
    """A pipeline over the folder of each source; None: a source without weight."""
    data, limits = config.data, plan.layout(config)
    mask = data.on_bad_record == "mask" and not finite
    corpora: list[Corpus | None] = []
    plans: list[SourcePlan | None] = []
    for place in folders:
        if place is None:
            corpora.append(None)
            plans.append(None)
            continue
        name = place.choice.source
        read = functools.partial(_open_corpus, config, tokenizer, place, mask, cache)
        corpus = deadline.within(data.open_timeout, read)
        corpora.append(corpus)
        epochs = known["epochs"].get(name) if known is not None else None
        plans.append(
            SourcePlan(
                name,
                corpus.documents,
                limits,
                cache,
                known=tuple(epochs) if epochs else ("", ()),
                processes=machine.cores(),
            )
        )
    whole = GlobalPlan(config, plans, finite, limit, known, cache)
    shape = stream.shape_of(config, whole.capacity)
    materials = Materials(shape, tokenizer, tuple(corpora), mask)
    reading = Reading(data.threads, data.workers, data.prefetch)
    borne = Limits(data.max_bad_share, data.max_bad_in_a_row)
    return Pipeline(whole, materials, reading, None if finite else borne)


def _tokenizer(root: str, file: str) -> Tokenizer:
    """The tokenizer of a file, or else of the root; ValueError without a root."""
    folder = paths.of(root)
    with deadline.opening(root):
        if not root or not folder.is_dir():
            raise ValueError(f"data.root={root!r}: no such folder")
        path = file or tokenizer_lib.in_folder(folder)
    with deadline.opening(path):
        return tokenizer_lib.open(path)


def _open_corpus(
    config: Config,
    tokenizer: Tokenizer,
    place: _Place,
    tolerant: bool,
    cache: str | pathlib.Path | None,
) -> Corpus:
    """The records of one source and their columns; says how long that took."""
    start = time.perf_counter()
    folder = paths.of(config.data.root) / place.folder
    reader = ShardReader(folder, tolerant)
    documents = column_cache.load(
        folder, reader.manifest, tokenizer, config.model, place.choice, cache
    )
    log.info(
        "%s: %d documents in %d shards, opened in %.2f s", place.folder, len(reader),
        len(reader.manifest["shards"]), time.perf_counter() - start,
    )  # fmt: skip
    return Corpus(place.choice.source, reader, documents)

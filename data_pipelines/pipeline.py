"""The pipeline: opens prepared corpora, plans them, and yields batches by number."""

import contextlib
import functools
import logging
import pathlib
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

from data_pipelines import (
    column_cache,
    loader,
    machine,
    materialize,
    plan,
    pools,
    stream,
)
from data_pipelines import tokenizer as tokenizer_lib
from data_pipelines.buffers import Recycler
from data_pipelines.loader import Reading, Work
from data_pipelines.materialize import Corpus, Fault, Materials
from data_pipelines.plan import SourcePlan
from data_pipelines.pools import GlobalPlan
from data_pipelines.records import Document
from data_pipelines.shards import ShardReader
from data_pipelines.tokenizer import Tokenizer
from data_pipelines.wording import Choice
from mmjax.batch import Batch, Share
from mmjax.config import Config

log = logging.getLogger(__name__)


def open(
    config: Config,
    cache: str | pathlib.Path | None = None,
    known: Mapping[str, Any] | None = None,
) -> "Pipeline":
    """The training data of a config.

    `cache` is a folder that keeps large plans and the columns of large sources; None:
    they are made again. `known` is what `GlobalPlan.known` told a checkpoint to go on
    from. Raises ValueError, one line, where the root, a source that has weight, its
    manifest or the tokenizer is missing or damaged, where tokenizer, shards and model
    don't match, or where the images don't fit the pools.
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


def open_heldout(config: Config, folders: Sequence[str], rows: int) -> "Pipeline":
    """One pass over prepared folders (relative to data.root), to measure with.

    Of each folder at most `rows` rows (0: all of them), every text in its own wording,
    whatever the share of synthetic ones in training. The pipeline has a capacity of
    its own, and `steps` batches, the last one filled up with empty rows. Raises
    ValueError as `open` does.
    """
    tokenizer = open_tokenizer(config)
    named = [_Place(folder, Choice(source=folder)) for folder in folders]
    return _open(config, tokenizer, named, None, None, finite=True, limit=rows)


def open_tokenizer(config: Config) -> Tokenizer:
    """The tokenizer of a config; ValueError if missing, or larger than the model."""
    root = pathlib.Path(config.data.root)
    if not config.data.root or not root.is_dir():
        raise ValueError(f"data.root={config.data.root!r}: no such folder")
    tokenizer = tokenizer_lib.open(
        config.data.tokenizer or tokenizer_lib.in_folder(root)
    )
    size = config.model.decoder.vocab_size
    if tokenizer.vocab_size > size:
        raise ValueError(
            f"model.decoder.vocab_size={size}: tokenizer {tokenizer.path} has "
            f"{tokenizer.vocab_size} ids; set at least as many"
        )
    return tokenizer


class Pipeline:
    """Batches, each a function of its number alone.

    Attributes: `plan`; its `capacity` C, `steps`, and `digest` of all that decides its
    rows; `tokenizer`; `names` of the sources; `faults`, the chunks of each source that
    were masked because an image couldn't be decoded.
    """

    def __init__(self, plan: GlobalPlan, materials: Materials, reading: Reading):
        self.plan = plan
        self.tokenizer = materials.tokenizer
        self.names = tuple(
            corpus.name if corpus else "" for corpus in materials.corpora
        )
        self.capacity, self.steps, self.digest = plan.capacity, plan.steps, plan.digest
        self.faults = {corpus.name: 0 for corpus in materials.corpora if corpus}
        self._materials = materials
        self._reading = reading
        self._recycler = Recycler()
        self._logged: set[tuple[int, int]] = set()

    def batches(
        self, start: int, stop: int, share: Share | None = None
    ) -> Generator[Batch, None, None]:
        """Batches start, ..., stop - 1, or what a share holds of them.

        They are made ahead; close the iterator to end that. Raises ValueError naming
        shard and record where a record can't be read.
        """
        shape = self._materials.shape
        share = share or Share(
            (0, self.plan.groups_per_batch), (0, shape.rows), (0, shape.capacity)
        )
        count = share.groups[1] - share.groups[0]
        empty = functools.partial(
            stream.empty,
            shape=shape,
            pad=self.tokenizer.pad,
            rows=share.rows[1] - share.rows[0],
            slots=share.slots[1] - share.slots[0],
            recycler=self._recycler,
        )
        fill = functools.partial(_fill, self.plan, self._materials, share)
        made = loader.batches(Work(empty, fill, count), start, stop, self._reading)
        with contextlib.closing(made):
            for batch, faults in made:
                self._count_faults(faults)
                yield batch

    def documents_of(self, step: int) -> list[list[tuple[tuple[int, int], ...]]]:
        """(source, document) of each chunk of a batch, by group and row; segment order.

        The first is segment 1 of its row.
        """
        return [
            [tuple((row.source, c.document) for c in row.row.chunks) for row in group]
            for group in self.plan.rows_of(step)
        ]

    def kind(self, source: int, document: int) -> str:
        """The kind of a document."""
        documents = self._corpus(source).documents
        return documents.kinds[documents.kind[document]]

    def document(self, source: int, number: int) -> Document:
        """A document itself, with all its wordings."""
        return self._corpus(source).reader.document(number)

    def _corpus(self, source: int) -> Corpus:
        corpus = self._materials.corpora[source]
        if corpus is None:
            raise ValueError(f"source {source} has no weight, so it isn't opened")
        return corpus

    def _count_faults(self, faults: Sequence[Fault]) -> None:
        for source, document in faults:
            corpus = self._corpus(source)
            self.faults[corpus.name] += 1
            if (source, document) not in self._logged:
                self._logged.add((source, document))
                path, record = corpus.reader.place(document)
                log.warning(
                    "%s: record %d has an image that can't be decoded: it is grey, and "
                    "the text around it has no loss", path, record,
                )  # fmt: skip


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
    corpora: list[Corpus | None] = []
    plans: list[SourcePlan | None] = []
    for place in folders:
        if place is None:
            corpora.append(None)
            plans.append(None)
            continue
        name = place.choice.source
        corpus = _open_corpus(config, tokenizer, place, cache)
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
    materials = Materials(shape, tokenizer, tuple(corpora))
    return Pipeline(
        whole, materials, Reading(data.threads, data.workers, data.prefetch)
    )


def _open_corpus(
    config: Config,
    tokenizer: Tokenizer,
    place: _Place,
    cache: str | pathlib.Path | None,
) -> Corpus:
    """The records of one source and their columns; says how long that took."""
    start = time.perf_counter()
    reader = ShardReader(pathlib.Path(config.data.root) / place.folder)
    documents = column_cache.load(
        reader.directory, reader.manifest, tokenizer, config.model, place.choice, cache
    )
    log.info(
        "%s: %d documents in %d shards, opened in %.2f s", place.folder, len(reader),
        len(reader.manifest["shards"]), time.perf_counter() - start,
    )  # fmt: skip
    return Corpus(place.choice.source, reader, documents)


def _fill(
    planned: GlobalPlan, materials: Materials, share: Share, number: int, out: Batch
) -> list[Fault]:
    """Writes the share's group of this number, counted from those of batch 0 on."""
    first, stop = share.groups
    step, z = divmod(number, stop - first)
    return materialize.assemble(materials, planned.group(step, first + z), share, out)

"""The pipeline: opens prepared corpora, plans them, and yields batches by number."""

import contextlib
import copy
import functools
import logging
import pathlib
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

from data_pipelines import (
    column_cache,
    crops,
    deadline,
    loader,
    machine,
    materialize,
    paths,
    plan,
    pools,
    stream,
)
from data_pipelines import tokenizer as tokenizer_lib
from data_pipelines.buffers import Recycler
from data_pipelines.faults import Fault, Limits
from data_pipelines.loader import Reading, Work
from data_pipelines.materialize import Corpus, Materials
from data_pipelines.plan import SourcePlan
from data_pipelines.pools import GlobalPlan
from data_pipelines.records import Document
from data_pipelines.shards import ShardReader
from data_pipelines.tally import Counts, Tally
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


def open_heldout(config: Config, folders: Sequence[str], rows: int) -> "Pipeline":
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


class Pipeline:
    """Batches, each a function of its number alone.

    Attributes: `plan`; its `capacity` C, `steps`, and `digest` of all that decides its
    rows; `tokenizer`; `names` of the sources; `faults`, how many chunks of each source
    have no loss because their document is bad, by reason (`faults.REASONS`). With
    `limits`, batches that pass them are an error.
    """

    def __init__(
        self,
        plan: GlobalPlan,
        materials: Materials,
        reading: Reading,
        limits: Limits | None = None,
    ):
        self.plan = plan
        self.tokenizer = materials.tokenizer
        self.names = tuple(
            corpus.name if corpus else "" for corpus in materials.corpora
        )
        self.capacity, self.steps, self.digest = plan.capacity, plan.steps, plan.digest
        self._materials = materials
        self._reading = reading
        self._recycler = Recycler()
        self._tally = Tally(self.names, self._record, limits)
        self.faults = self._tally.counts

    def batches(
        self, start: int, stop: int, share: Share | None = None
    ) -> Generator[Batch, None, None]:
        """Batches start, ..., stop - 1, or what a share holds of them.

        They are made ahead; close the iterator to end that. Raises ValueError naming
        shard and record where a record can't be read, or where more documents are bad
        than is borne (which counts from `start` on, in this share).
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
        watches = self._tally.watches()
        with contextlib.closing(made):
            for step, (batch, faults) in enumerate(made, start):
                self._tally.take(step, batch, faults, watches)
                yield batch

    def with_plan(self, plan: GlobalPlan) -> "Pipeline":
        """The pipeline of another plan over the same sources; faults are kept."""
        other = copy.copy(self)
        shape = self._materials.shape._replace(capacity=plan.capacity)
        other._materials = self._materials._replace(shape=shape)
        other.plan, other.digest = plan, plan.digest
        other.capacity, other.steps = plan.capacity, plan.steps
        return other

    def faults_of(self, step: int) -> Counts:
        """The faults of a batch that `batches` gave, {source: {reason: chunks}}.

        To be asked for once.
        """
        return self._tally.of(step)

    @property
    def rows_per_batch(self) -> int:
        """B."""
        return self.plan.groups_per_batch * self._materials.shape.rows

    def row(self, step: int, number: int) -> Batch:
        """One row of a batch alone, as a group of one row that has its images only.

        Raises ValueError as `batches` does, but bears any number of bad documents.
        """
        z, r = divmod(number, self._materials.shape.rows)
        planned = self.plan.group(step, z)[r]
        slots = planned.row.slots
        share = Share((0, 1), (0, 1), (0, slots))
        out = stream.empty(
            1, self._materials.shape, self.tokenizer.pad, 1, slots, self._recycler
        )
        materialize.assemble(self._materials, [planned], share, out)
        return out

    def documents_of(self, step: int) -> list[list[tuple[tuple[int, int], ...]]]:
        """(source, document) of each chunk of a batch, by group and row; segment order.

        The first is segment 1 of its row.
        """
        return [
            [
                tuple(
                    (source, chunk.document)
                    for source, chunk in zip(row.of_chunks(), row.row.chunks)
                )
                for row in group
            ]
            for group in self.plan.rows_of(step)
        ]

    def image_crops(self, step: int, number: int) -> list[list[int]]:
        """Crops of each image in a row of a batch, by segment, in reading order."""
        z, r = divmod(number, self._materials.shape.rows)
        planned = self.plan.group(step, z)[r]
        return [
            materialize.image_crops(self._corpus(source).documents, chunk)
            for source, chunk in zip(planned.of_chunks(), planned.row.chunks)
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

    def _record(self, source: int, document: int) -> tuple[pathlib.Path, int]:
        return self._corpus(source).reader.place(document)


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
    recipe = crops.recipe(config.model)
    materials = Materials(shape, tokenizer, tuple(corpora), recipe, mask)
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


def _fill(
    planned: GlobalPlan, materials: Materials, share: Share, number: int, out: Batch
) -> list[Fault]:
    """Writes the share's group of this number, counted from those of batch 0 on."""
    first, stop = share.groups
    step, z = divmod(number, stop - first)
    return materialize.assemble(materials, planned.group(step, first + z), share, out)

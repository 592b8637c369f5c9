"""Batches by number: planned, materialized ahead, and what was bad in them counted."""

import contextlib
import copy
import functools
import pathlib
from collections.abc import Generator

from data_pipelines import loader, materialize, stream
from data_pipelines.buffers import Recycler
from data_pipelines.faults import Fault, Limits
from data_pipelines.loader import Reading, Work
from data_pipelines.materialize import Corpus, Materials
from data_pipelines.pools import GlobalPlan
from data_pipelines.records import Document
from data_pipelines.tally import Counts, Tally
from mmjax.batch import Batch, Share


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


def _fill(
    planned: GlobalPlan, materials: Materials, share: Share, number: int, out: Batch
) -> list[Fault]:
    """Writes the share's group of this number, counted from those of batch 0 on."""
    first, stop = share.groups
    step, z = divmod(number, stop - first)
    return materialize.assemble(materials, planned.group(step, first + z), share, out)

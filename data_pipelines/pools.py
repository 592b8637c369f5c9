"""The global plan: the packed rows of every batch, dealt to pool groups.

Step n takes rows [n x B, (n + 1) x B) of the mixture. Within a block of batches, rows
of the same source change places so that pool groups need about as many image slots: the
mixture stays as it is, no row is lost, and a batch costs one block to plan.
"""

import hashlib
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import capacity, mixed
from data_pipelines.blocks import Block, Blocks
from data_pipelines.index_columns import STATS
from data_pipelines.memo import Memo
from data_pipelines.mixed import PlannedRow
from data_pipelines.plan import SourcePlan
from mmjax.config import Config, Data


class Fill(NamedTuple):
    """How full a batch is."""

    images: int  # slots that hold an image
    slots: int
    used: int  # positions of documents
    positions: int


def used_sources(config: Config) -> tuple[bool, ...]:
    """Of each source, whether it ever has a weight; the others need not exist."""
    lists = [config.mixture.weights, *(c.weights for c in config.mixture.schedule)]
    return tuple(any(weights) for weights in zip(*lists))


def changeable_from(config: Config, step: int) -> int:
    """`GlobalPlan.changeable_from` of the plan of a config, which need not be made."""
    return _changeable_from(config.data, mixed.reach(config), step)


def _changeable_from(data: Data, reach: int, step: int) -> int:
    size = data.block_batches
    ahead = -(-reach // data.rows_per_batch)
    return -(-step // size) * size + ahead if step else 0


class GlobalPlan:
    """What stands in every batch of a run.

    `sources` are those of config.data.sources, None for one that is never used. A
    finite plan holds the rows of epoch 0 of its sources once (of each at most `limit`,
    where that isn't 0), spread evenly, and empty rows up to whole batches.

    Attributes: `capacity` C and `note`, how it was found; `groups_per_batch` Z;
    `steps`; `digest` of all that decides the rows, except for changes of the weights,
    so that a run may be resumed with more of them. `known` is what `known` gave before
    an interruption: what it says isn't found again.

    Raises ValueError where a pool group needs more slots than data.pool_capacity, with
    the capacity that is enough. (A finite plan always has the capacity that it needs.)
    """

    def __init__(
        self,
        config: Config,
        sources: Sequence[SourcePlan | None],
        finite: bool = False,
        limit: int = 0,
        known: Mapping[str, Any] | None = None,
        cache_dir: pathlib.Path | str | None = None,
    ):
        data = config.data
        self.sources = tuple(sources)
        self.groups_per_batch = data.rows_per_batch // data.rows_per_pool
        self._data = data
        self._finite = finite
        if finite:
            weights = mixed.finite_weights(sources, limit, data.rows_per_batch)
            self.steps = sum(weights) // data.rows_per_batch
            self._rows = mixed.finite(sources, weights)
        else:
            weights = config.mixture.weights
            self.steps = config.steps
            state = None if known is None else known["mixture"]
            self._rows = mixed.endless(config, sources, state)
        self.digest = self._digest(weights, "row" if finite else config.mixture.unit)
        self._planned = [] if finite else capacity.planned(config)
        batches = self.steps if finite else 0
        self._blocks = Blocks(self._rows.mixture, self._rows.plans, data, batches)
        self._dealt = Memo(self._blocks.deal, 4)
        self.capacity, self.note = self._capacity(known, cache_dir)
        logging.getLogger(__name__).info(self.note)

    def rows_of(self, step: int) -> list[list[PlannedRow]]:
        """The rows of a batch: Z groups of R rows."""
        return [self.group(step, z) for z in range(self.groups_per_batch)]

    def group(self, step: int, z: int) -> list[PlannedRow]:
        """The R rows of one pool group of a batch."""
        sources, rows, _ = self._batch(step)
        size = self._data.rows_per_pool
        part = slice(z * size, (z + 1) * size)
        keys = zip(sources[part].tolist(), rows[part].tolist())
        return [self._rows.row(source, k) for source, k in keys]

    def counts(self, steps: int) -> dict[str, np.ndarray]:
        """What the first `steps` batches hold, each value an array over sources.

        Names: rows, those of `index_columns.STATS`, and epochs (with a fraction).
        """
        block, batches = divmod(steps, self._data.block_batches)
        size = self._data.rows_per_batch
        sums = self._rows.sums_before((steps - batches) * size)
        if batches:
            sources, rows, _ = self._block(block)
            stop = batches * size
            sums += self._rows.sums(sources[:stop], rows[:stop])
        return self._named(0, steps, sums)

    def step_counts(self, step: int) -> dict[str, np.ndarray]:
        """What one batch holds, under the names of `counts`."""
        sources, rows, _ = self._batch(step)
        return self._named(step, step + 1, self._rows.sums(sources, rows))

    def fill(self, step: int) -> Fill:
        """How full one batch is."""
        counts = self.step_counts(step)
        slots = self.groups_per_batch * self.capacity
        positions = self._data.rows_per_batch * self._data.row_tokens
        used = int(counts["positions"].sum())
        return Fill(int(counts["slots"].sum()), slots, used, positions)

    def known(self, step: int) -> dict[str, Any]:
        """What the batches from a step on need to know of those before; fit for JSON.

        It lets a run go on without packing or dealing anything before that step.
        """
        size = self._data.block_batches
        first = step // size * size
        return {
            "step": first,
            "capacity": self.capacity,
            "planned": self._planned,
            **self._rows.known(first * self._data.rows_per_batch),
        }

    def changeable_from(self, step: int) -> int:
        """First step whose weights may change without changing batches before `step`.

        The blocks that these belong to stay as they are dealt, and rows are mixed with
        an eye on what is due soon.
        """
        return _changeable_from(self._data, self._rows.mixture.reach, step)

    def _digest(self, weights: Sequence[int], unit: str) -> str:
        used = [
            (source, plan.digest, weight)
            for source, (plan, weight) in enumerate(zip(self.sources, weights))
            if plan and weight
        ]
        data = self._data
        sizes = (data.rows_per_batch, data.rows_per_pool, data.block_batches)
        facts = repr((used, sizes, self._finite, unit))
        return hashlib.sha256(facts.encode()).hexdigest()[:32]

    def _capacity(
        self, known: Mapping[str, Any] | None, cache_dir: pathlib.Path | str | None
    ) -> tuple[int, str]:
        """The capacity, and how it was found; what is `known` is enough already."""
        words = "image slots of a pool group"
        if self._finite:
            need, how = self._blocks.need(0, self.steps)
            found = capacity.fitting(need, self._data)
        elif known is not None and known["planned"] == self._planned:
            found = capacity.chosen(known["capacity"], self._data)
            return found, f"{words}: {found}, as before"
        else:
            first, least = (known["step"], known["capacity"]) if known else (0, 0)
            need, how = capacity.need(
                self._blocks, first, self.steps, cache_dir, self.digest, self._planned
            )
            found = capacity.chosen(max(need, least), self._data)
        return found, f"{words}: {found}; the fullest needs {need} ({how})"

    def _block(self, number: int) -> Block:
        block = self._dealt(number)
        if block.need > self.capacity:
            raise ValueError(
                f"data.pool_capacity={self.capacity}: block {number} of batches has a "
                f"pool group that needs {block.need} image slots; set it to "
                f"{capacity.fitting(block.need, self._data)}"
            )
        return block

    def _batch(self, step: int) -> Block:
        """The part of its block that is the batch of a step."""
        if step < 0 or (self._finite and step >= self.steps):
            raise ValueError(f"step {step}: the plan has batches 0 to {self.steps - 1}")
        number, batch = divmod(step, self._data.block_batches)
        sources, rows, need = self._block(number)
        size = self._data.rows_per_batch
        part = slice(batch * size, (batch + 1) * size)
        return Block(sources[part], rows[part], need)

    def _named(self, first: int, stop: int, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Sums by name, with the rows and epochs that steps [first, stop) take."""
        size = self._data.rows_per_batch
        rows, epochs = self._rows.rows_and_epochs(first * size, stop * size, sums)
        return {"rows": rows, **dict(zip(STATS, sums.T)), "epochs": epochs}

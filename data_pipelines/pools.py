"""The global plan: the packed rows of every batch, dealt to pool groups.

Step n takes rows [n x B, (n + 1) x B) of the mixture. Within a block of batches, rows
of the same source change places so that pool groups need about as many image slots: the
mixture stays as it is, no row is lost, and a batch costs one block to plan.
"""

import functools
import hashlib
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import mixture, plan_cache
from data_pipelines.blocks import Block, Blocks
from data_pipelines.chunks import LOSS_TOKENS, POSITIONS, STATS
from data_pipelines.memo import Memo
from data_pipelines.merged import MergedPlan
from data_pipelines.mixture import Mixture
from data_pipelines.plan import SourcePlan
from data_pipelines.token_mixture import TokenMixture
from data_pipelines.windows import Row
from mmjax.config import Config, Data

VERSION = 1  # of dealing: another version, other groups
EMPTY = Row((), 0, 0)


class PlannedRow(NamedTuple):
    """A row of a batch; an empty one pads a finite plan (source 0, no chunks)."""

    source: int  # place in config.data.sources
    row: Row
    sources: tuple[int, ...] = ()  # of each chunk; empty: all of `source`

    def of_chunks(self) -> tuple[int, ...]:
        """The source of each chunk."""
        return self.sources or (self.source,) * len(self.row.chunks)


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
    unit, schedule = config.mixture.unit, config.mixture.schedule
    lists = [config.mixture.weights, *(change.weights for change in schedule)]
    if unit == "document":
        lists = [(1,)]  # all rows are of the merged sources
    ahead = (
        TokenMixture.reach if unit == "loss_token" else max(map(mixture.reach, lists))
    )
    return _changeable_from(config.data, ahead, step)


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
        self._unit = "row" if finite else config.mixture.unit
        self._mixed = self._unit == "document"
        if finite:
            weights = _finite_weights(sources, limit, data.rows_per_batch)
            self.steps = sum(weights) // data.rows_per_batch
            self._mixture = Mixture(weights)
        else:
            weights = config.mixture.weights
            self.steps = config.steps
            self._mixture = _mixture(config, sources, known)
        self._merged = _merged(config, sources, known) if self._mixed else None
        self.digest = self._digest(weights)
        self._planned = planned(config) if not finite else []
        batches = self.steps if finite else 0
        plans = (self._merged,) if self._merged else tuple(sources)
        self._blocks = Blocks(self._mixture, (*plans, None), data, batches)
        self._dealt = Memo(self._blocks.deal, 4)
        if known is not None and known["planned"] == self._planned:
            self.capacity = self._capacity(known["capacity"])
            self.note = f"image slots of a pool group: {self.capacity}, as before"
        else:
            first = known["step"] if known is not None else 0
            least = known["capacity"] if known is not None else 0
            need, words = self._need(first, cache_dir)
            self.capacity = self._capacity(max(need, least))
            self.note = (
                f"image slots of a pool group: {self.capacity}; the fullest needs "
                f"{need} ({words})"
            )
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
        return [self._row(source, k) for source, k in keys]

    def counts(self, steps: int) -> dict[str, np.ndarray]:
        """What the first `steps` batches hold, each value an array over sources.

        Names: rows, those of `chunks.STATS`, and epochs (with a fraction).
        """
        block, batches = divmod(steps, self._data.block_batches)
        sums = self._sums_before(steps - batches)
        if batches:
            sources, rows, _ = self._block(block)
            stop = batches * self._data.rows_per_batch
            sums += self._sums(sources[:stop], rows[:stop])
        return self._named(0, steps, sums)

    def step_counts(self, step: int) -> dict[str, np.ndarray]:
        """What one batch holds, under the names of `counts`."""
        sources, rows, _ = self._batch(step)
        return self._named(step, step + 1, self._sums(sources, rows))

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
        row, dealt = first * self._data.rows_per_batch, self._mixture
        mixture: list[Any] | None = None
        epochs: dict[str, list[Any]] = {}
        if self._merged:
            mixture = self._merged.known(row)
        else:
            rows = self._rows_before(first).tolist()
            named = zip(self.sources, rows)
            epochs = {plan.name: list(plan.known(k)) for plan, k in named if plan}
        if isinstance(dealt, TokenMixture):
            mixture = dealt.state_at(row)
        return {
            "step": first,
            "capacity": self.capacity,
            "planned": self._planned,
            "epochs": epochs,
            "mixture": mixture,
        }

    def changeable_from(self, step: int) -> int:
        """First step whose weights may change without changing batches before `step`.

        The blocks that these belong to stay as they are dealt, and rows are mixed with
        an eye on what is due soon.
        """
        return _changeable_from(self._data, self._mixture.reach, step)

    def _digest(self, weights: Sequence[int]) -> str:
        used = [
            (source, plan.digest, weight)
            for source, (plan, weight) in enumerate(zip(self.sources, weights))
            if plan and weight
        ]
        data = self._data
        sizes = (data.rows_per_batch, data.rows_per_pool, data.block_batches)
        facts = repr((used, sizes, self._finite, self._unit))
        return hashlib.sha256(facts.encode()).hexdigest()[:32]

    def _need(
        self, first: int, cache_dir: pathlib.Path | str | None
    ) -> tuple[int, str]:
        """Slots of the heaviest pool group from a step on, and how that was found."""
        if cache_dir is None or self._finite:
            return self._blocks.need(first, self.steps)
        facts = repr((VERSION, self.digest, self._planned, first))
        name = hashlib.sha256(facts.encode()).hexdigest()
        path = pathlib.Path(cache_dir) / f"pools-{name[:24]}.npz"
        arrays = plan_cache.load(path, name)
        if arrays is None:
            need, words = self._blocks.need(first, self.steps)
            arrays = {"need": np.array(need), "words": np.array(words)}
            plan_cache.save(path, name, arrays)
        return int(arrays["need"]), str(arrays["words"])

    def _capacity(self, need: int) -> int:
        """The capacity for a known need; an explicit one must be enough."""
        multiple = self._data.pool_multiple
        fitting = max(-(-need // multiple), 1) * multiple
        explicit = 0 if self._finite else self._data.pool_capacity
        if explicit and need > explicit:
            raise ValueError(
                f"data.pool_capacity={explicit}: a pool group needs {need} image "
                f"slots; set it to {fitting}, or to 0 for the fewest that fit"
            )
        return explicit or fitting

    def _block(self, number: int) -> Block:
        block = self._dealt(number)
        if block.need > self.capacity:
            multiple = self._data.pool_multiple
            raise ValueError(
                f"data.pool_capacity={self.capacity}: block {number} of batches has a "
                f"pool group that needs {block.need} image slots; set it to "
                f"{-(-block.need // multiple) * multiple}"
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

    def _row(self, source: int, k: int) -> PlannedRow:
        if self._merged:
            sources, row = self._merged.row(k)
            return PlannedRow(sources[0], row, sources)
        plan = self.sources[source] if source < len(self.sources) else None
        return PlannedRow(source, plan.row(k)) if plan else PlannedRow(0, EMPTY)

    def _rows_before(self, step: int) -> np.ndarray:
        """Rows of each source before a step, int64 [sources]."""
        counts = self._mixture.counts(step * self._data.rows_per_batch)
        return counts[: len(self.sources)]

    def _sums_before(self, step: int) -> np.ndarray:
        """STATS of all rows before a step, int64 [sources, len(STATS)]."""
        if self._merged:
            return self._merged.sums_before(step * self._data.rows_per_batch)
        sums = np.zeros((len(self.sources), len(STATS)), np.int64)
        for source, k in enumerate(self._rows_before(step).tolist()):
            plan = self.sources[source]
            if plan:
                sums[source] = plan.sums_before(k)
        return sums

    def _sums(self, sources: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """STATS of some rows of one block, int64 [sources, len(STATS)]."""
        if self._merged:
            return self._merged.row_sums(rows)
        sums = np.zeros((len(self.sources), len(STATS)), np.int64)
        for source, plan in enumerate(self.sources):
            own = rows[sources == source]
            if plan and len(own):
                first = int(own.min())
                stats = plan.row_stats(first, int(own.max()) + 1)
                sums[source] = stats[own - first].sum(axis=0)
        return sums

    def _named(self, first: int, stop: int, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Sums by name, with the rows and epochs that steps [first, stop) take.

        Of rows of several sources, each has the share that its positions are.
        """
        if self._merged:
            size = self._data.rows_per_batch
            ends = (self._merged.epochs(step * size) for step in (first, stop))
            low, high = ends
            used = sums[:, POSITIONS]
            rows = (stop - first) * size * used / max(1, used.sum())
            named = dict(zip(STATS, sums.T))
            return {"rows": rows, **named, "epochs": high - low}
        low, high = self._rows_before(first), self._rows_before(stop)
        epochs = [
            plan.epochs(int(b)) - plan.epochs(int(a)) if plan and b else 0.0
            for plan, a, b in zip(self.sources, low, high)
        ]
        stats = dict(zip(STATS, sums.T))
        return {"rows": high - low, **stats, "epochs": np.array(epochs)}


def _mixture(
    config: Config,
    sources: Sequence[SourcePlan | None],
    known: Mapping[str, Any] | None,
) -> Mixture | TokenMixture:
    """The mixture of an endless plan."""
    weights, schedule = config.mixture.weights, config.mixture.schedule
    rows = config.data.rows_per_batch
    if config.mixture.unit == "row":
        return Mixture(weights, schedule, rows)
    if config.mixture.unit == "document":
        return Mixture((1,))  # all rows are of the merged sources
    loss = [plan and functools.partial(_loss_tokens, plan) for plan in sources]
    state = None if known is None else known["mixture"]
    return TokenMixture(weights, loss, schedule, rows, state)


def _merged(
    config: Config,
    sources: Sequence[SourcePlan | None],
    known: Mapping[str, Any] | None,
) -> MergedPlan:
    """All sources as one, of an endless plan."""
    state = None if known is None else known["mixture"]
    weights, schedule = config.mixture.weights, config.mixture.schedule
    rows = config.data.rows_per_batch
    return MergedPlan(sources, weights, schedule, rows, state)


def _loss_tokens(plan: SourcePlan, start: int, stop: int) -> np.ndarray:
    return plan.row_stats(start, stop)[:, LOSS_TOKENS]


def planned(config: Config) -> list[Any]:
    """What a capacity is found for, beside what `digest` covers; fit for JSON."""
    changes = [
        [change.step, list(change.weights)] for change in config.mixture.schedule
    ]
    data = config.data
    return [config.steps, changes, data.pool_capacity, data.pool_multiple]


def _finite_weights(
    sources: Sequence[SourcePlan | None], limit: int, rows_per_batch: int
) -> tuple[int, ...]:
    """Rows of each source, and of empty ones last, together whole batches."""
    rows = [plan.rows(0) if plan else 0 for plan in sources]
    rows = [min(count, limit) if limit else count for count in rows]
    if not any(rows):
        raise ValueError("a finite plan needs a source with rows")
    return *rows, -sum(rows) % rows_per_batch

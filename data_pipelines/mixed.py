"""The rows that a plan mixes: of separate sources, or of sources merged into one.

A row is number k of a place of the mixture. The place is a source, or there is one only
and its rows hold documents of all sources. The global plan asks the same of both.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from data_pipelines import mixture
from data_pipelines.index_columns import LOSS_TOKENS, POSITIONS, STATS
from data_pipelines.merged import MergedPlan
from data_pipelines.mixture import Mixture
from data_pipelines.plan import SourcePlan
from data_pipelines.token_mixture import TokenMixture
from data_pipelines.windows import Row
from mmjax.config import Config

EMPTY = Row((), 0, 0)

Sources = Sequence[SourcePlan | None]  # None: one that is never used
Plans = tuple[SourcePlan | MergedPlan | None, ...]


class PlannedRow(NamedTuple):
    """A row of a batch; an empty one pads a finite plan (source 0, no chunks)."""

    source: int  # place in config.data.sources
    row: Row
    sources: tuple[int, ...] = ()  # of each chunk; empty: all of `source`

    def of_chunks(self) -> tuple[int, ...]:
        """The source of each chunk."""
        return self.sources or (self.source,) * len(self.row.chunks)


class MixedRows(Protocol):
    """Rows in the order of a mixture; `plans` are those of its places.

    A place without a plan has empty rows, or none. Sums are STATS by source, int64
    [sources, len(STATS)].
    """

    mixture: Mixture | TokenMixture
    plans: Plans

    def row(self, place: int, k: int) -> PlannedRow:
        """Row k of a place."""
        ...

    def sums(self, places: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """STATS of some rows that lie close together."""
        ...

    def sums_before(self, row: int) -> np.ndarray:
        """STATS of all rows before a global one."""
        ...

    def rows_and_epochs(
        self, first: int, stop: int, sums: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """By source, what the global rows [first, stop), which have these sums, take.

        Of a row of several sources, each has the share that its positions are.
        """
        ...

    def known(self, row: int) -> dict[str, Any]:
        """What the rows from a global one on need to know of those before, for JSON."""
        ...


class SeparateRows:
    """`MixedRows` whose places are the sources, and one more for empty rows."""

    def __init__(self, sources: Sources, mixture: Mixture | TokenMixture):
        self.mixture: Mixture | TokenMixture = mixture
        self.plans: Plans = (*sources, None)
        self._sources = tuple(sources)

    def row(self, place: int, k: int) -> PlannedRow:
        plan = self._sources[place] if place < len(self._sources) else None
        return PlannedRow(place, plan.row(k)) if plan else PlannedRow(0, EMPTY)

    def sums(self, places: np.ndarray, rows: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(self._sources), len(STATS)), np.int64)
        for source, plan in enumerate(self._sources):
            own = rows[places == source]
            if plan and len(own):
                first = int(own.min())
                stats = plan.row_stats(first, int(own.max()) + 1)
                sums[source] = stats[own - first].sum(axis=0)
        return sums

    def sums_before(self, row: int) -> np.ndarray:
        sums = np.zeros((len(self._sources), len(STATS)), np.int64)
        for source, k in enumerate(self._counts(row).tolist()):
            plan = self._sources[source]
            if plan:
                sums[source] = plan.sums_before(k)
        return sums

    def rows_and_epochs(
        self, first: int, stop: int, sums: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        low, high = self._counts(first), self._counts(stop)
        epochs = [
            plan.epochs(int(b)) - plan.epochs(int(a)) if plan and b else 0.0
            for plan, a, b in zip(self._sources, low, high)
        ]
        return high - low, np.array(epochs)

    def known(self, row: int) -> dict[str, Any]:
        named = zip(self._sources, self._counts(row).tolist())
        epochs = {plan.name: list(plan.known(k)) for plan, k in named if plan}
        mixture = self.mixture
        state = mixture.state_at(row) if isinstance(mixture, TokenMixture) else None
        return {"epochs": epochs, "mixture": state}

    def _counts(self, row: int) -> np.ndarray:
        """Rows of each source before a global row, int64 [sources]."""
        return self.mixture.counts(row)[: len(self._sources)]


class MergedRows:
    """`MixedRows` of one place, whose rows hold documents of all sources."""

    def __init__(self, merged: MergedPlan):
        self.mixture: Mixture | TokenMixture = Mixture((1,))
        self.plans: Plans = (merged,)
        self._merged = merged

    def row(self, place: int, k: int) -> PlannedRow:
        sources, row = self._merged.row(k)
        return PlannedRow(sources[0], row, sources)

    def sums(self, places: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return self._merged.row_sums(rows)

    def sums_before(self, row: int) -> np.ndarray:
        return self._merged.sums_before(row)

    def rows_and_epochs(
        self, first: int, stop: int, sums: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        used = sums[:, POSITIONS]
        rows = (stop - first) * used / max(1, used.sum())
        return rows, self._merged.epochs(stop) - self._merged.epochs(first)

    def known(self, row: int) -> dict[str, Any]:
        return {"epochs": {}, "mixture": self._merged.known(row)}


def endless(config: Config, sources: Sources, state: Sequence[Any] | None) -> MixedRows:
    """The rows of a run; `state` is the "mixture" that `known` told."""
    weights, schedule = config.mixture.weights, config.mixture.schedule
    unit, rows = config.mixture.unit, config.data.rows_per_batch
    if unit == "document":
        return MergedRows(MergedPlan(sources, weights, schedule, rows, state))
    if unit == "loss_token":
        loss = [plan and functools.partial(_loss_tokens, plan) for plan in sources]
        return SeparateRows(sources, TokenMixture(weights, loss, schedule, rows, state))
    return SeparateRows(sources, Mixture(weights, schedule, rows))


def finite(sources: Sources, weights: Sequence[int]) -> MixedRows:
    """So many rows of each source, and of empty ones last, spread evenly."""
    return SeparateRows(sources, Mixture(weights))


def finite_weights(
    sources: Sources, limit: int, rows_per_batch: int
) -> tuple[int, ...]:
    """Rows of epoch 0 of each source, at most `limit` (0: all), and of empty ones.

    Together they are whole batches. ValueError where no source has rows.
    """
    rows = [plan.rows(0) if plan else 0 for plan in sources]
    rows = [min(count, limit) if limit else count for count in rows]
    if not any(rows):
        raise ValueError("a finite plan needs a source with rows")
    return *rows, -sum(rows) % rows_per_batch


def reach(config: Config) -> int:
    """How many rows before a change of weights may depend on it, in a run."""
    schedule = config.mixture.schedule
    if config.mixture.unit == "loss_token":
        return TokenMixture.reach
    if config.mixture.unit == "document":
        return mixture.reach((1,))  # all rows are of one place
    lists = [config.mixture.weights, *(change.weights for change in schedule)]
    return max(map(mixture.reach, lists))


def _loss_tokens(plan: SourcePlan, start: int, stop: int) -> np.ndarray:
    return plan.row_stats(start, stop)[:, LOSS_TOKENS]

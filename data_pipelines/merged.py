"""Rows of several sources together, where weights are shares of documents.

Documents of all sources are drawn in the ratio of the weights, exactly at every prefix
of the sequence; so many of them as a window has are packed together, whatever source
they are from, so at every row the ratio is right to within one window. Each source goes
through its own shuffle, epoch after epoch. Documents are drawn by the weights that hold
at the first row of their window; those that then lie behind a change of weights were
drawn by the wrong ones, which the next window makes good.

Windows depend on those before them by a few numbers alone, which are kept.
"""

import bisect
import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import index_columns, shuffle, totals, windows
from data_pipelines.chunks import Layout
from data_pipelines.index_columns import SLOTS, STATS, Documents
from data_pipelines.memo import Chain, Memo
from data_pipelines.mixture import Mixture
from data_pipelines.plan import SourcePlan
from data_pipelines.windows import Row
from mmjax.config import WeightChange

VERSION = 2  # of the algorithm: another version, other rows
DOCUMENTS = STATS.index("documents")


class State(NamedTuple):
    """What a window follows from."""

    window: int
    rows: int  # before it
    taken: tuple[int, ...]  # documents of each source before it
    part: int  # of the schedule
    since: int  # documents drawn since that part began
    placed: tuple[int, ...]  # documents before it in the rows of each part
    stats: tuple[tuple[int, ...], ...]  # STATS of each source before it


class _Window(NamedTuple):
    """A packed window."""

    sources: np.ndarray  # int64 [documents]
    packed: windows.Window  # its documents have the numbers of their own sources
    before: np.ndarray  # int64 [rows + 1, sources, STATS]


class MergedPlan:
    """All rows of a mixture by documents, for ever.

    `plans` are those of the sources, None for one that never has a weight; `state` is
    what `known` gave for JSON: rows before it aren't known then.
    """

    def __init__(
        self,
        plans: Sequence[SourcePlan | None],
        weights: Sequence[int],
        schedule: Sequence[WeightChange] = (),
        rows_per_batch: int = 1,
        state: Sequence[Any] | None = None,
    ):
        self.plans = tuple(plans)
        used = [plan for plan in plans if plan is not None]
        self.layout: Layout = used[0].layout
        facts = (VERSION, tuple(weights), [plan and plan.digest for plan in plans])
        self.digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
        lists = [tuple(weights), *(tuple(change.weights) for change in schedule)]
        self._mixtures = [Mixture(weights) for weights in lists]
        self._shares = [[Fraction(w, sum(ws)) for w in ws] for ws in lists]
        self._starts = [0, *(change.step * rows_per_batch for change in schedule)]
        none = (0,) * len(plans)
        first = State(0, 0, none, 0, 0, (0,), ((0,) * len(STATS),) * len(plans))
        self._first = first if state is None else _read(state)
        self._states = Chain([self._first], self._after)
        self._window = Memo(self._pack, 256)

    def row(self, k: int) -> tuple[tuple[int, ...], Row]:
        """Row k, and the source of each of its chunks."""
        window, place = self._find(k)
        packed = window.packed
        row = packed.row(place)
        ids = packed.order[packed.row_start[place] : packed.row_start[place + 1]]
        sources = window.sources[packed.table.document[ids]].tolist()
        return tuple(sources), row

    def row_stats(self, start: int, stop: int) -> np.ndarray:
        """STATS of each row in [start, stop), int64 [stop - start, len(STATS)]."""
        found = [np.zeros((0, len(STATS)), np.int64)]
        while start < stop:
            window, place = self._find(start)
            before = window.packed.before[place : place + stop - start + 1]
            found.append(np.diff(before, axis=0))
            start += len(before) - 1
        return np.concatenate(found)

    def row_images(self, start: int, stop: int) -> np.ndarray:
        """Pool slots of each row in [start, stop), int64 [stop - start]."""
        return self.row_stats(start, stop)[:, SLOTS]

    def slots_before(self, k: int) -> int:
        """Pool slots of the first k rows together."""
        return int(self.sums_before(k)[:, SLOTS].sum())

    def row_sums(self, rows: np.ndarray) -> np.ndarray:
        """STATS of these rows together by source, int64 [sources, len(STATS)]."""
        sums = np.zeros((len(self.plans), len(STATS)), np.int64)
        for k in rows.tolist():
            window, place = self._find(k)
            sums += window.before[place + 1] - window.before[place]
        return sums

    def sums_before(self, k: int) -> np.ndarray:
        """STATS of the first k rows by source, int64 [sources, len(STATS)]."""
        state = self._state_of(k)
        sums = np.array(state.stats, np.int64)
        inside = k - state.rows
        return sums + self._window(state.window).before[inside] if inside else sums

    def epochs(self, k: int) -> np.ndarray:
        """How often the first k rows go through each source, float64 [sources]."""
        seen = self.sums_before(k)[:, DOCUMENTS]
        sizes = [_size(plan) if plan else 1 for plan in self.plans]
        return seen / np.array(sizes)

    def known(self, k: int) -> list[Any]:
        """What the rows from k on need to know of those before; fit for JSON."""
        return [*self._state_of(k)]

    def _find(self, k: int) -> tuple[_Window, int]:
        state = self._state_of(k)
        return self._window(state.window), k - state.rows

    def _state_of(self, k: int) -> State:
        """The state of the window of row k."""
        if k < self._first.rows:
            raise ValueError(f"row {k}: known are those from {self._first.rows} on")
        return self._states.last(k, key=_rows)

    def _after(self, state: State) -> State:
        """The state of the next window."""
        sources, numbers, state = self._draw(state)
        documents = _together(self.plans, sources, numbers)
        found = documents.totals
        assert found is not None
        (sizes,) = windows.measure(documents, np.arange(len(found)), self.layout)
        stats = [
            tuple((np.array(before) + totals.stats(found[sources == s])).tolist())
            for s, before in enumerate(state.stats)
        ]
        counts = np.bincount(sources, minlength=len(self.plans))
        return State(
            state.window + 1,
            state.rows + sizes.rows,
            tuple((np.array(state.taken) + counts).tolist()),
            state.part,
            state.since + len(sources),
            self._placed(state, sizes.rows, documents),
            tuple(stats),
        )

    def _placed(self, state: State, rows: int, documents: Documents) -> tuple[int, ...]:
        """Documents in the rows of each part, behind the window of this state."""
        stop = state.rows + rows
        count = bisect.bisect_left(self._starts, stop)  # parts that have begun
        placed = [*state.placed, *[0] * (count - len(state.placed))]
        ends = np.clip([*self._starts[1:count], stop], state.rows, stop) - state.rows
        if ends[state.part] == rows:
            placed[state.part] += len(documents.segment_start) - 1
        else:
            before = self._rows_of(state, documents).before[ends, DOCUMENTS]
            placed = (np.array(placed) + np.diff(before, prepend=0)).tolist()
        return tuple(placed)

    def _draw(self, state: State) -> tuple[np.ndarray, np.ndarray, State]:
        """Sources and numbers of a window's documents; the state with its part."""
        part = bisect.bisect_right(self._starts, state.rows) - 1
        if part != state.part:
            state = state._replace(part=part, since=0)
        stop = state.since + self.layout.window
        sources = self._mixtures[part].sources(state.since, stop).astype(np.int64)
        sources = self._made_good(sources, state)
        numbers = np.empty(len(sources), np.int64)
        for source, plan in enumerate(self.plans):
            places = np.flatnonzero(sources == source)
            if plan is not None and len(places):
                first = state.taken[source]
                ks = np.arange(first, first + len(places))
                numbers[places] = _numbers(plan, ks)
        return sources, numbers, state

    def _made_good(self, sources: np.ndarray, state: State) -> np.ndarray:
        """A window's sources, with more of those that changes left behind."""
        exact = [
            sum(
                count * shares[source]
                for count, shares in zip(state.placed, self._shares)
            )
            for source in range(len(self.plans))
        ]
        owed = [int(share - taken) for share, taken in zip(exact, state.taken)]
        sources = sources.copy()
        more = np.repeat(np.arange(len(owed)), np.maximum(owed, 0))
        for source, count in enumerate(owed):
            places = np.flatnonzero(sources == source)[: max(0, -count)]
            places = places[: len(more)]
            sources[places], more = more[: len(places)], more[len(places) :]
        return sources

    def _rows_of(self, state: State, documents: Documents) -> windows.Window:
        """The rows of the window of a state, whose documents are numbered in it."""
        key = f"{self.layout.seed} {state.window} documents"
        numbers = np.arange(len(documents.segment_start) - 1)
        return windows.pack(documents, numbers, self.layout, key)

    def _pack(self, number: int) -> _Window:
        sources, numbers, state = self._draw(self._states[number - self._first.window])
        packed = self._rows_of(state, _together(self.plans, sources, numbers))
        order = packed.order
        owner = sources[packed.table.document[order]]
        sums = packed.table.sums[order].astype(np.int64)
        before = np.zeros((len(packed.before), len(self.plans), len(STATS)), np.int64)
        for source in range(len(self.plans)):
            own = np.where((owner == source)[:, None], sums, 0)
            rows = np.add.reduceat(own, packed.row_start[:-1], axis=0)
            before[1:, source] = np.cumsum(rows, axis=0)
        return _Window(sources, packed._replace(numbers=numbers), before)


def _rows(state: State) -> int:
    return state.rows


def _read(values: Sequence[Any]) -> State:
    window, rows, taken, part, since, placed, stats = values
    stats = tuple(map(tuple, stats))
    return State(window, rows, tuple(taken), part, since, tuple(placed), stats)


def _size(plan: SourcePlan) -> int:
    return len(plan.documents.segment_start) - 1


def _numbers(plan: SourcePlan, ks: np.ndarray) -> np.ndarray:
    """The documents that a source gives as its k-th ones, epoch after epoch."""
    size = _size(plan)
    epochs, places = np.divmod(ks, size)
    numbers = np.empty(len(ks), np.int64)
    for epoch in np.unique(epochs).tolist():
        here = epochs == epoch
        key = f"{plan.layout.seed} {epoch} {plan.name}"
        numbers[here] = shuffle.permute(places[here], size, key)
    return numbers


def _together(
    plans: Sequence[SourcePlan | None], sources: np.ndarray, numbers: np.ndarray
) -> Documents:
    """The documents of a window in their order, as columns of their own."""
    parts, places = [], []
    for source, plan in enumerate(plans):
        here = np.flatnonzero(sources == source)
        if plan is not None and len(here):
            parts.append(index_columns.take(plan.documents, numbers[here]))
            places.append(here)
    whole = index_columns.join(parts)
    order = np.empty(len(sources), np.int64)
    order[np.concatenate(places)] = np.arange(len(sources))
    return index_columns.take(whole, order)

"""Which source each packed row comes from, where weights are shares of loss tokens.

Rows are as `mixture` mixes them, but time runs in loss tokens: a source's exact share
grows with every row by rate x the row's loss tokens, and at every prefix what it has
got differs from its share by less than the most loss tokens of a row so far. A source
may have the next row if that doesn't bring it too far ahead; among those that may, the
one that would first fall too far behind comes first.

What a row holds is known from the plans alone. Rows depend on all rows before them, so
states are kept at regular rows, and a checkpoint holds one: resuming goes on from it.
"""

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.memo import Memo
from mmjax.config import WeightChange

BLOCK = 4096  # rows between two states that are kept

# Loss tokens of the rows [start, stop) of a source, int64.
LossTokens = Callable[[int, int], np.ndarray]


class State(NamedTuple):
    """What the rows from here on follow from."""

    row: int
    counts: tuple[int, ...]  # rows of each source so far
    ahead: tuple[int, ...]  # tokens got, less the exact share, in 1 / unit
    most: int  # loss tokens of the largest row that was looked at


class TokenMixture:
    """The source of every row, from integer weights and a schedule of changes.

    `loss_tokens` are those of the rows of each source (None where it never has a
    weight); `state` is where to start, as `state_at` gave it for JSON. Interface and
    meaning otherwise as of `mixture.Mixture`.
    """

    reach = 0  # no row before a change depends on it

    def __init__(
        self,
        weights: Sequence[int],
        loss_tokens: Sequence[LossTokens | None],
        schedule: Sequence[WeightChange] = (),
        rows_per_batch: int = 1,
        state: Sequence[Any] | None = None,
    ):
        lists = [tuple(weights), *(tuple(change.weights) for change in schedule)]
        self._unit = math.lcm(*(sum(values) for values in lists))
        self._rates = [
            tuple(w * (self._unit // sum(values)) for w in values) for values in lists
        ]
        self._starts = [0, *(change.step * rows_per_batch for change in schedule)]
        self._loss_tokens = tuple(loss_tokens)
        none = (0,) * len(weights)
        first = State(0, none, none, 0) if state is None else self._read(state)
        self._states = [first]
        self._block = Memo(self._run, 64)

    def counts(self, row: int) -> np.ndarray:
        """Rows of each source before a global row, int64 [sources]."""
        number, inside = divmod(row - self._states[0].row, BLOCK)
        state = self._state(number)
        found = np.array(state.counts, np.int64)
        if inside:
            sources = self._block(number)[0][:inside]
            found += np.bincount(sources, minlength=len(found))
        return found

    def sources(self, start: int, stop: int) -> np.ndarray:
        """The source of each global row in [start, stop), int32."""
        origin = self._states[0].row
        if start < origin:
            raise ValueError(f"row {start}: known are the rows from {origin} on")
        found = [np.zeros(0, np.int32)]
        while start < stop:
            number, inside = divmod(start - origin, BLOCK)
            found.append(self._block(number)[0][inside : inside + stop - start])
            start += len(found[-1])
        return np.concatenate(found)

    def state_at(self, row: int) -> list[Any]:
        """What to start from at a global row instead of 0; fit for JSON.

        Weights that end after this row may be others then; those before may not.
        """
        number, inside = divmod(row - self._states[0].row, BLOCK)
        state = self._state(number)
        if inside:
            state = self._simulate(state, inside)[1]
        ahead = [[value, self._unit] for value in state.ahead]
        return [state.row, list(state.counts), ahead, state.most]

    def _read(self, values: Sequence[Any]) -> State:
        """A state in this mixture's unit, which other weights may have changed."""
        row, counts, ahead, most = values
        unit = math.lcm(self._unit, *(size for _, size in ahead))
        factor = unit // self._unit
        self._rates = [tuple(r * factor for r in rates) for rates in self._rates]
        self._unit = unit
        scaled = tuple(value * (unit // size) for value, size in ahead)
        return State(row, tuple(counts), scaled, most)

    def _state(self, number: int) -> State:
        """The state before a block, found block by block."""
        while len(self._states) <= number:
            self._block(len(self._states) - 1)
        return self._states[number]

    def _run(self, number: int) -> tuple[np.ndarray, State]:
        sources, state = self._simulate(self._state(number), BLOCK)
        if len(self._states) == number + 1:
            self._states.append(state)
        return sources, state

    def _simulate(self, state: State, rows: int) -> tuple[np.ndarray, State]:
        """The sources of so many rows, and the state after them."""
        unit, most = self._unit, state.most
        counts, ahead = list(state.counts), list(state.ahead)
        upcoming = _Upcoming(self._loss_tokens, counts)
        found = np.empty(rows, np.int32)
        rates: tuple[int, ...] = ()
        active: list[int] = []
        for place in range(rows):
            current = self._rates[
                bisect.bisect_right(self._starts, state.row + place) - 1
            ]
            if current is not rates:
                rates = current
                active = [s for s, rate in enumerate(rates) if rate]
            most = max(most, *(upcoming.next[source] for source in active))
            taken = _due(active, rates, ahead, upcoming.next, most, unit)
            tokens = upcoming.take(taken)
            for source in active:
                ahead[source] -= rates[source] * tokens
            ahead[taken] += unit * tokens
            found[place] = taken
            counts[taken] += 1
        return found, State(state.row + rows, tuple(counts), tuple(ahead), most)


def _due(
    active: Sequence[int],
    rates: Sequence[int],
    ahead: Sequence[int],
    tokens: Sequence[int],
    most: int,
    unit: int,
) -> int:
    """The source that may have the next row and would first fall too far behind.

    It falls too far behind after room / rate loss tokens of others; compared exactly.
    """
    taken, behind, rate = -1, 0, 1
    for source in active:
        after = ahead[source] + tokens[source] * (unit - rates[source])
        if after >= most * unit:
            continue
        room = most * unit + ahead[source]
        if taken < 0 or room * rate < behind * rates[source]:
            taken, behind, rate = source, room, rates[source]
    if taken < 0:  # rows without loss tokens, or just after a change of weights
        taken = min(active, key=lambda source: (ahead[source], source))
    return taken


class _Upcoming:
    """The loss tokens of the next row of each source."""

    def __init__(self, loss_tokens: Sequence[LossTokens | None], counts: Sequence[int]):
        self._loss_tokens = loss_tokens
        self._taken = list(counts)
        self._lists: list[list[int]] = [[] for _ in counts]
        self._at = [0] * len(counts)
        self.next = [0] * len(counts)
        for source, known in enumerate(loss_tokens):
            if known is not None:
                self._load(source)

    def take(self, source: int) -> int:
        """The tokens of the source's next row, which is gone then."""
        tokens = self.next[source]
        self._taken[source] += 1
        self._at[source] += 1
        if self._at[source] == len(self._lists[source]):
            self._load(source)
        self.next[source] = self._lists[source][self._at[source]]
        return tokens

    def _load(self, source: int) -> None:
        known, first = self._loss_tokens[source], self._taken[source]
        assert known is not None
        self._lists[source] = known(first, first + 512).tolist()
        self._at[source] = 0
        self.next[source] = self._lists[source][0]

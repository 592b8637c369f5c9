"""Which source each packed row comes from: weights kept to within one row, always.

At every prefix the rows of a source differ by less than 1 from its exact share, the sum
of rows x weight / total over the parts of the schedule. So row n of a source (from 1)
may come once the share exceeds n - 1, and must have come when the share reaches n;
among the sources whose row may come, the one that is due first is taken (earliest
deadline first, which keeps all such windows if that can be done at all; that it can:
R. Tijdeman, The chairman assignment problem, 1980). Shares are carried across changes
of the weights, and a change is foreseen by the rows shortly before it, since several
rows may be due soon after it. A source of weight 0 gets no row, but for one that it had
earned in part before its weight became 0.
"""

import bisect
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax.config import WeightChange

NEVER = 1 << 62


class _Part(NamedTuple):
    """Rows [start, stop) of constant weights; shares are in units of 1 / unit rows."""

    start: int
    stop: int
    rates: tuple[int, ...]  # what each row adds to the share of each source
    shares: tuple[int, ...]  # before `start`
    period: int  # rows that add whole rows to every share


class _Piece(NamedTuple):
    """A table of sources that repeats from row `start` on, until the next piece."""

    start: int
    counts: np.ndarray  # int64 [sources], rows of each source before `start`
    table: np.ndarray  # int32 [rows], source of each row
    ranks: np.ndarray  # int64 [rows], rows of the same source before it in the table
    places: tuple[np.ndarray, ...]  # where each source stands in the table


class Mixture:
    """The source of every row, from integer weights and a schedule of changes.

    A change holds from global row step x rows_per_batch on. Arithmetic is exact, and a
    lookup costs the same at row 10^9 as at row 10. `reach` is how many rows before a
    change may already differ because of it.
    """

    def __init__(
        self,
        weights: Sequence[int],
        schedule: Sequence[WeightChange] = (),
        rows_per_batch: int = 1,
    ):
        starts = [0, *(change.step * rows_per_batch for change in schedule)]
        lists = [tuple(weights), *(tuple(change.weights) for change in schedule)]
        unit = math.lcm(*(sum(values) for values in lists))
        self.reach = max(reach(values) for values in lists)
        run = _Run(_parts(starts, lists, unit), unit)
        self._pieces = [
            piece for number in range(len(lists)) for piece in run.pieces(number)
        ]
        self._starts = [piece.start for piece in self._pieces]

    def locate(self, row: int) -> tuple[int, int]:
        """(source, k) of a global row: it is row k of that source."""
        piece, rounds, place = self._find(row)
        source = int(piece.table[place])
        k = piece.counts[source] + rounds * len(piece.places[source])
        return source, int(k + piece.ranks[place])

    def counts(self, row: int) -> np.ndarray:
        """Rows of each source before a global row, int64 [sources]."""
        piece, rounds, place = self._find(row)
        return piece.counts + [
            rounds * len(places) + int(np.searchsorted(places, place))
            for places in piece.places
        ]

    def sources(self, start: int, stop: int) -> np.ndarray:
        """The source of each global row in [start, stop), int32."""
        found = [np.zeros(0, np.int32)]
        while start < stop:
            number = bisect.bisect_right(self._starts, start)
            piece = self._pieces[number - 1]
            end = min([stop, *self._starts[number : number + 1]])
            places = np.arange(start - piece.start, end - piece.start)
            found.append(piece.table[places % len(piece.table)])
            start = end
        return np.concatenate(found)

    def _find(self, row: int) -> tuple[_Piece, int, int]:
        piece = self._pieces[bisect.bisect_right(self._starts, row) - 1]
        return piece, *divmod(row - piece.start, len(piece.table))


def _parts(starts: list[int], lists: list[tuple[int, ...]], unit: int) -> list[_Part]:
    shares, parts = (0,) * len(lists[0]), []
    for start, stop, weights in zip(starts, [*starts[1:], NEVER], lists):
        total = sum(weights)
        rates = tuple(weight * (unit // total) for weight in weights)
        period = total // math.gcd(*weights)
        parts.append(_Part(start, stop, rates, shares, period))
        shares = tuple(s + (stop - start) * r for s, r in zip(shares, rates))
    return parts


def reach(rates: Sequence[int]) -> int:
    """Rows from when a row may come to when it is due, at most."""
    return max(-(-sum(rates) // rate) for rate in rates if rate)


class _Run:
    """The rows handed out so far, and when the next one of each source may come."""

    def __init__(self, parts: list[_Part], unit: int):
        self._parts = parts
        self._unit = unit
        self._sight = 0  # rows; what is due later is as if never due
        self._row = 0
        self._counts = [0] * len(parts[0].rates)
        self._windows = [self._window(s) for s in range(len(self._counts))]

    def pieces(self, number: int) -> list[_Piece]:
        """A part's rows: simulated until they repeat themselves, then at its end."""
        part = self._parts[number]
        sight = self._sight = max(self._sight, reach(part.rates))
        start, counts = self._row, list(self._counts)
        table: list[int] = []
        seen: dict[tuple[int, ...], tuple[int, list[int]]] = {}
        while (state := self._deviations(part)) not in seen:
            seen[state] = len(table), list(self._counts)
            if self._row + part.period > part.stop - sight:
                return [_piece(start, counts, table + self._advance(part.stop))]
            table += self._advance(self._row + part.period)
        head, counts_after_head = seen[state]
        cycle = _piece(start + head, counts_after_head, table[head:])
        pieces = [_piece(start, counts, table[:head])] if head else []
        if part.stop == NEVER:
            return [*pieces, cycle]
        self._skip(cycle, (part.stop - sight - self._row) // len(cycle.table))
        tail = _piece(self._row, list(self._counts), self._advance(part.stop))
        return [*pieces, cycle, tail]

    def _advance(self, stop: int) -> list[int]:
        """The sources of the rows from the current one to `stop`."""
        windows, counts, found = self._windows, self._counts, []
        sources = range(len(counts))
        for row in range(self._row, stop):
            earliest, taken = NEVER + 1, -1
            for source in sources:
                free, due = windows[source]
                if free <= row:
                    due = due if due < row + self._sight else NEVER
                    if due < earliest:
                        earliest, taken = due, source
            found.append(taken)
            counts[taken] += 1
            windows[taken] = self._window(taken)
        self._row = stop
        return found

    def _skip(self, cycle: _Piece, rounds: int) -> None:
        """Goes on by whole rounds of a cycle."""
        self._row += rounds * len(cycle.table)
        for source, places in enumerate(cycle.places):
            self._counts[source] += rounds * len(places)
        self._windows = [self._window(s) for s in range(len(self._counts))]

    def _window(self, source: int) -> tuple[int, int]:
        """First and last row that may be the source's next one."""
        done = self._counts[source] * self._unit
        free = self._reaches(source, done + 1)
        return free - 1, self._reaches(source, done + self._unit) - 1

    def _reaches(self, source: int, share: int) -> int:
        """Rows after which the source's share is at least this; NEVER if it isn't."""
        for part in self._parts:
            if rate := part.rates[source]:
                rows = part.start - (part.shares[source] - share) // rate
                if rows <= part.stop:
                    return rows
        return NEVER

    def _deviations(self, part: _Part) -> tuple[int, ...]:
        rows = self._row - part.start
        return tuple(
            share + rows * rate - count * self._unit
            for share, rate, count in zip(part.shares, part.rates, self._counts)
        )


def _piece(start: int, counts: list[int], table: list[int]) -> _Piece:
    sources = np.array(table, np.int32)
    places = tuple(np.flatnonzero(sources == s) for s in range(len(counts)))
    ranks = np.empty(len(sources), np.int64)
    for found in places:
        ranks[found] = np.arange(len(found))
    return _Piece(start, np.array(counts, np.int64), sources, ranks, places)

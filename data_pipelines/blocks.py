"""Blocks of batches: the rows that are dealt to pool groups together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines import bars, dealing
from data_pipelines.merged import MergedPlan
from data_pipelines.mixture import Mixture
from data_pipelines.plan import SourcePlan
from data_pipelines.token_mixture import TokenMixture
from mmjax.config import Data

EXACT_BLOCKS = 256  # a run of more blocks isn't dealt whole to see what it needs
SAMPLED_BLOCKS = 64  # but so many of its heaviest, and as many evenly spaced


class Block(NamedTuple):
    """The rows of some batches, in order, whole pool groups."""

    sources: np.ndarray  # int32 [rows]
    rows: np.ndarray  # int64 [rows], row of that source
    need: int  # image slots of the heaviest pool group


class Blocks:
    """Deals one block after another; `plans` are those of the mixture's sources.

    A source without a plan has rows without images. `batches`, where it isn't 0, is the
    end: the last block then holds what remains.
    """

    def __init__(
        self,
        mixture: Mixture | TokenMixture,
        plans: Sequence[SourcePlan | MergedPlan | None],
        data: Data,
        batches: int = 0,
    ):
        self._mixture = mixture
        self._plans = tuple(plans)
        self._data = data
        self._batches = batches

    def deal(self, number: int) -> Block:
        """A block with its rows dealt to pool groups."""
        start, stop = self._bounds(number)
        sources = self._mixture.sources(start, stop)
        first, last = self._mixture.counts(start), self._mixture.counts(stop)
        slots = [
            plan.row_images(a, b) if plan and b > a else np.zeros(b - a, np.int64)
            for plan, a, b in zip(self._plans, first.tolist(), last.tolist())
        ]
        dealt = dealing.deal(slots, sources, self._data.rows_per_pool)
        return Block(sources, first[sources] + dealt.rows, int(dealt.loads.max()))

    def need(self, start: int, stop: int) -> tuple[int, str]:
        """Slots of the heaviest pool group of batches [start, stop), and in words how.

        Exact for up to 256 blocks; of more it deals the 64 blocks with the most images
        and 64 evenly spaced ones.
        """
        first, last = start // self._data.block_batches, stop - 1
        numbers = list(range(first, last // self._data.block_batches + 1))
        count = len(numbers)
        words = f"in all {count} blocks of batches"
        if count > EXACT_BLOCKS:
            totals = np.array([self._slots(number) for number in numbers])
            heaviest = np.argsort(-totals, kind="stable")[:SAMPLED_BLOCKS]
            spaced = np.linspace(0, count - 1, SAMPLED_BLOCKS).astype(int)
            numbers = sorted(
                {first + n for n in (*heaviest.tolist(), *spaced.tolist())}
            )
            words = f"in {len(numbers)} of {count} blocks of batches, the heaviest too"
        progress = bars.bar(numbers, "dealing rows to pools", unit="block", delay=5)
        return max(self.deal(number).need for number in progress), words

    def _slots(self, number: int) -> int:
        """Slots of a block."""
        start, stop = (self._mixture.counts(row) for row in self._bounds(number))
        return sum(
            plan.slots_before(int(b)) - plan.slots_before(int(a))
            for plan, a, b in zip(self._plans, start, stop)
            if plan and b > a
        )

    def _bounds(self, number: int) -> tuple[int, int]:
        """Global rows [start, stop) of a block."""
        first = number * self._data.block_batches
        stop = first + self._data.block_batches
        if self._batches:
            stop = min(stop, self._batches)
        return first * self._data.rows_per_batch, stop * self._data.rows_per_batch

"""The tally of faults: counted by source and reason, logged once, up to limits."""

import collections
import itertools
import logging
import pathlib
from collections.abc import Callable, Sequence

from data_pipelines import faults as faults_lib
from data_pipelines.faults import Fault, Limits, Watch
from mmjax.batch import Batch

log = logging.getLogger(__name__)

Counts = dict[str, dict[str, int]]  # {source: {reason: chunks}}


class Tally:
    """Takes the faults of one batch after another.

    Attributes: `counts` so far. `place` tells file and record of (source, document).
    Without limits anything is borne.
    """

    def __init__(
        self,
        names: Sequence[str],
        place: Callable[[int, int], tuple[pathlib.Path, int]],
        limits: Limits | None,
    ):
        self.counts: Counts = {name: {} for name in names if name}
        self._names, self._place = tuple(names), place
        self._limits = limits
        self._logged: set[tuple[int, int]] = set()
        self._by_step: dict[int, Counts] = {}

    def watches(self) -> list[Watch]:
        """One for each source, where there are limits: for one run of batches."""
        return [Watch(self._limits) for _ in self._names] if self._limits else []

    def take(
        self,
        step: int,
        batch: Batch,
        groups: Sequence[Sequence[Fault]],
        watches: Sequence[Watch],
    ) -> None:
        """The faults of a batch, by group; ValueError where a limit is passed."""
        self._by_step.pop(step, None)
        for fault in itertools.chain(*groups):
            self._count(step, fault)
        if watches:
            self._check(batch, groups, watches)

    def of(self, step: int) -> Counts:
        """The faults of a batch that was taken; asked for once."""
        return self._by_step.pop(step, {})

    def _count(self, step: int, fault: Fault) -> None:
        name = self._names[fault.source]
        for counts in (self.counts, self._by_step.setdefault(step, {})):
            of_source = counts.setdefault(name, {})
            of_source[fault.reason] = of_source.get(fault.reason, 0) + 1
        if fault[:2] not in self._logged:
            self._logged.add(fault[:2])
            log.warning("%s: it has no loss", self._words(fault))

    def _words(self, fault: Fault) -> str:
        path, record = self._place(fault.source, fault.document)
        return f"{path}: record {record} {faults_lib.REASONS[fault.reason]}"

    def _check(
        self,
        batch: Batch,
        groups: Sequence[Sequence[Fault]],
        watches: Sequence[Watch],
    ) -> None:
        """Hands each source's documents and the bad ones among them to its watch."""
        begins_ZRT = (batch.positions_ZRT == 0) & (batch.segments_ZRT > 0)
        sources = batch.sources_ZRT[begins_ZRT]  # of the chunks, in order
        bad: dict[int, list[tuple[int, Fault]]] = collections.defaultdict(list)
        for z, group in enumerate(groups):
            for fault in group:
                rows = begins_ZRT[:z].sum() + begins_ZRT[z, : fault.row].sum()
                before = sources[: int(rows) + fault.segment - 1]
                place = int((before == fault.source).sum())
                bad[fault.source].append((place, fault))
        for source, watch in enumerate(watches):
            places = [place for place, _ in bad[source]]
            passed = watch.take(int((sources == source).sum()), places)
            if passed:
                place, figures = passed
                last = next(fault for at, fault in bad[source] if at == place)
                raise ValueError(
                    f"source {self._names[source]}: {figures}; the last one is "
                    f"{self._words(last)}"
                )

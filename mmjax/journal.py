"""The journal of a run: what its steps measured, kept, summed up and told.

The devices are never waited for: a record is read and written one log interval after
its last step. What is not written yet goes into checkpoints, so a resumed run writes
the very records of one that was never interrupted.
"""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax import metrics
from mmjax.metrics import Record, Sums


class Cost(NamedTuple):
    """What the host knows of one step."""

    waited: float  # seconds in which the devices had no batch
    flops: float
    counts: Mapping[str, Mapping[str, float]]  # of the batch, by source
    # Bad documents of the batch, {reason: ints over sources}; maybe device arrays.
    faults: Mapping[str, Any] = {}


class _Step(NamedTuple):
    number: int  # steps done after it
    measured: dict[str, Any]  # device arrays
    host: Sums
    counts: Mapping[str, Mapping[str, float]]


class Journal:
    """Takes every step; writes a record of every `every` steps."""

    def __init__(
        self,
        sources: Sequence[str],
        steps: int,
        every: int,
        peak: float | None,
        writers: Sequence[metrics.Writer],
        screen: metrics.Screen,
        saved: Mapping[str, Any] | None = None,
    ):
        """`peak`: FLOP/s of all devices, if known; `saved`: `state()` to go on from."""
        self._sources, self._steps = sources, steps
        self._every, self._peak = every, peak
        self._writers, self._screen = writers, screen
        saved = saved or {}
        self._window: Sums = dict(saved.get("window", {}))
        self._total: Sums = dict(saved.get("total", {}))
        self._delivered = {
            source: dict(saved.get("delivered", {}).get(source, {}))
            for source in sources
        }
        self._steps_taken: list[_Step] = []
        self._since = time.perf_counter()

    def start_clock(self) -> None:
        """Time before this call belongs to no step: compiling, evaluating."""
        self._since = time.perf_counter()

    def step(self, number: int, measured: dict[str, Any], cost: Cost) -> None:
        """Takes what a step measured; writes the record of the interval before last."""
        host: Sums = {
            "steps": 1,
            "seconds": self._lap(),
            "waited": cost.waited,
            "flops": cost.flops,
        }
        faults = {metrics.FAULTS + reason: n for reason, n in cost.faults.items()}
        self._steps_taken.append(_Step(number, measured | faults, host, cost.counts))
        if number % self._every == 0:
            self._fold(number - self._every)

    def flush(self) -> None:
        """Reads all steps, waiting for the last, and writes every complete record."""
        if self._steps_taken:
            last = self._steps_taken[-1]
            jax.block_until_ready(last.measured)
            last.host["seconds"] += self._lap()
            self._fold(last.number)

    def write(self, step: int, record: Record) -> None:
        """Writes a record that something else measured, such as held-out losses."""
        for writer in self._writers:
            writer.write(step, record)

    def say(self, line: str) -> None:
        self._screen.say(line)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold, fit for JSON; after `flush`."""
        return {
            "window": self._window,
            "total": self._total,
            "delivered": self._delivered,
        }

    def total(self) -> Record:
        """The record of all steps so far together; after `flush`."""
        return self._record(self._total) if self._total else {}

    def faults(self) -> dict[str, dict[str, int]]:
        """Bad documents so far, {source: {reason: how many}}; after `flush`."""
        return metrics.faults(self._total, self._sources)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    def _lap(self) -> float:
        """Seconds since this was last asked."""
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        return seconds

    def _fold(self, last: int) -> None:
        """Adds up the steps to number `last`, writing records on the way."""
        ready = [step for step in self._steps_taken if step.number <= last]
        self._steps_taken = self._steps_taken[len(ready) :]
        fetched = jax.device_get([step.measured for step in ready])
        for step, measured in zip(ready, fetched):
            _require_finite(step.number, measured)
            self._count(step, measured)
            values = measured | step.host
            self._window = metrics.add(self._window, values)
            self._total = metrics.add(self._total, values)
            if step.number % self._every == 0 or step.number == self._steps:
                self._report(step.number)

    def _report(self, number: int) -> None:
        record = self._record(self._window)
        record |= metrics.fault_record(self.faults())
        self._window = {}
        self.write(number, record | metrics.delivered(self._delivered))
        self._screen.progress(
            metrics.progress_line(number, self._steps, record, self._sources)
        )

    def _record(self, sums: Sums) -> Record:
        record = metrics.summary(sums, self._sources)
        if self._peak:
            record["mfu"] = record["flops_per_second"] / self._peak
        return record

    def _count(self, step: _Step, measured: Mapping[str, Any]) -> None:
        """Adds a step to what was delivered; loss tokens are those that did count."""
        tokens = measured["loss_tokens_by_source"].tolist()
        for source, count in zip(self._sources, tokens):
            given = {**step.counts.get(source, {}), "loss_tokens": count}
            total = self._delivered[source]
            for what, value in given.items():
                total[what] = total.get(what, 0) + value


def _require_finite(number: int, measured: Mapping[str, Any]) -> None:
    """Raises ValueError where a step's loss or gradient is not a number any more."""
    nll = float(np.sum(measured["loss_sum_by_source"], dtype=np.float64))
    norm = float(measured["grad_norm"])
    if not (math.isfinite(nll) and math.isfinite(norm)):
        raise ValueError(
            f"step {number}: the loss or its gradient is not finite (sum of losses "
            f"{nll}, gradient norm {norm}); nothing was saved since; a smaller "
            "optim.peak_lr or a longer optim.warmup_steps may help"
        )

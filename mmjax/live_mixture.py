"""Other weights for a run that goes on: requests taken up, or refused, by the run.

A request is taken up at a step boundary, and holds from a later step, the first whose
weights can change without changing batches that were delivered. What was decided is on
disk before any step depends on it, so a run that is killed repeats it.
"""

import logging
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from data_pipelines import capacity, lessons, limits, replanning
from mmjax import mixture_files, processes, run_setup, schedule, validation
from mmjax.mixture_files import Request
from mmjax.run_setup import Run
from mmjax.schedule import Change

log = logging.getLogger(__name__)


class Decision(NamedTuple):
    """A run under other weights."""

    run: Run
    change: Change
    warnings: list[str]


class LiveMixture:
    """The requests of a run's workdir, and what became of them.

    Attribute: `changes`, those that were taken up, in that order.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        changes: Iterable[Change],
        handled: Iterable[str],
        say: Callable[[str], None],
    ):
        """`changes` that hold already, and the names of all requests `handled`."""
        self.changes = list(changes)
        self._handled = set(handled)
        self._workdir, self._say = workdir, say
        self._seen: Any = None  # size and time of the file of requests
        self._new: list[str] = []  # requests that the first process has found
        self._poll = processes.Poll()

    def asked(self, done: int, every: int) -> bool:
        """Whether there are new requests, at steps that are multiples of `every`.

        The same on all processes, which must ask after each step; where there are
        several, those count that were there a step before.
        """
        if jax.process_count() == 1:
            return done % every == 0 and bool(self._look())
        found = self._poll.answer()
        if (done + 1) % every == 0:
            self._poll.ask(bool(self._look()))
        return found

    def waiting(self) -> list[str]:
        """The requests that are new, the same on all processes, which all must ask.

        Where there are several processes, they wait for each other.
        """
        lines, self._new = self._look(), []
        return agreed(lines)

    def take_up(self, run: Run, lines: list[str], done: int, compiled: bool) -> Run:
        """The run after requests, `done` steps being delivered; as it was if refused.

        Once its step is `compiled`, a pool group can't get more image slots.
        """
        for line in lines:
            request = mixture_files.name(line)
            outcome: dict[str, Any] = {"request": request, "at": done}
            try:
                wish = mixture_files.parse(line)
                decided = decide(run, request, wish, done, compiled)
            except ValueError as error:
                reason = "; ".join(str(error).splitlines())
                outcome |= {"outcome": "refused", "reason": reason}
                words = [f"refused: {reason}"]
            else:
                run = decided.run
                self.changes.append(decided.change)
                outcome |= _taken(decided)
                weights = schedule.shown(decided.change.weights, run.config)
                words = [f"{weights} from step {decided.change.step} on"]
                words += decided.warnings
            if processes.first():
                mixture_files.record(self._workdir, outcome)
            self._handled.add(request)
            for word in words:
                self._say(f"mixture: request {request}: {word}")
        run_setup.write_config(run)
        return run

    def _look(self) -> list[str]:
        """The requests that the first process knows and nobody has taken up."""
        if processes.first():
            self._new = self._new_lines() or self._new
        return self._new

    def _new_lines(self) -> list[str]:
        """Reads the file of requests where it isn't the one that was read last."""
        path = self._workdir / mixture_files.REQUESTS
        try:
            status = os.stat(path)
            seen = status.st_size, status.st_mtime_ns
            if seen == self._seen:
                return []
            lines = mixture_files.lines(path)
        except FileNotFoundError:
            return []
        except OSError as error:  # a request isn't worth the run
            log.warning("%s: %s", path, error)
            return []
        self._seen = seen
        return mixture_files.waiting(lines, self._handled)


def decide(
    run: Run, request: str, wish: Request, done: int, compiled: bool
) -> Decision:
    """The run with what a request asks for; ValueError where that can't be.

    All processes decide the same: it follows from plan, request and step alone.
    """
    config, old = run.config, run.train.pipeline
    names = [source.name for source in config.data.sources]
    problem = validation.weights_problem(wish.weights, names)
    if problem:
        raise ValueError(f"weights {problem}")
    step = max(old.plan.changeable_from(done), wish.step, 1)
    if step >= config.steps:
        raise ValueError(
            f"the first step that it could hold from is {step}, and the run ends at "
            f"step {config.steps}"
        )
    change = Change(request, step, wish.weights)
    changed = schedule.merged(config, [change])
    cache = run_setup.plan_cache(config, run.workdir)
    opened = replanning.replan(old, changed, done, cache)
    if compiled and opened.capacity > old.capacity:
        raise ValueError(
            f"a pool group would need {opened.capacity} image slots and the step is "
            f"compiled for {old.capacity}; stop the run, ask again and start it: it is "
            f"compiled for {opened.capacity} then"
        )
    warnings = limits.check(opened.plan, config.data.sources, done)
    lessons.check(opened.plan, config, done)
    train = run_setup.stream(changed, run.mesh, opened)
    return Decision(run._replace(config=changed, train=train), change, warnings)


def agreed(lines: list[str]) -> list[str]:
    """The lines of process 0, on all processes."""
    if jax.process_count() == 1:
        return lines
    text = np.frombuffer("\n".join(lines).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.array(len(text))))
    if not size:
        return []
    if not processes.first():
        text = np.zeros(size, np.uint8)
    whole = np.asarray(multihost_utils.broadcast_one_to_all(text), np.uint8)
    return whole.tobytes().decode().split("\n")


def _taken(decided: Decision) -> dict[str, Any]:
    """What is recorded of a change, besides the request."""
    return {
        "outcome": "taken",
        "step": decided.change.step,
        "weights": list(decided.change.weights),
        "planned": capacity.planned(decided.run.config),
        "capacity": decided.run.train.pipeline.capacity,
    }

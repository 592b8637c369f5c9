"""The weights of a run over its steps: as configured, and as changed while it runs."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mmjax.config import Config, Mixture, WeightChange

Part = tuple[int, tuple[int, ...]]  # first step, weights


class Change(NamedTuple):
    """A change that was asked for while the run went on, and was taken up."""

    request: str  # its name
    step: int  # from which it holds
    weights: tuple[int, ...]


def parts(mixture: Mixture) -> list[Part]:
    """First step and weights of each part of a run."""
    changes = [(change.step, tuple(change.weights)) for change in mixture.schedule]
    return [(0, tuple(mixture.weights)), *changes]


def merged(config: Config, changes: Iterable[Change]) -> Config:
    """The config with changes in its schedule.

    One takes the place of another of the same step; what is scheduled for later steps
    stays. Changes that are in the schedule already change nothing.
    """
    by_step = {change.step: change for change in config.mixture.schedule}
    for change in changes:
        by_step[change.step] = WeightChange(change.step, change.weights)
    schedule = tuple(by_step[step] for step in sorted(by_step))
    return dataclasses.replace(
        config, mixture=dataclasses.replace(config.mixture, schedule=schedule)
    )


def first_difference(one: Sequence[Part], other: Sequence[Part]) -> int | None:
    """The first step of the first part that only one of two schedules has."""
    return min((start for start, _ in set(one) ^ set(other)), default=None)


def expected_rows(config: Config, steps: int) -> dict[str, float]:
    """Rows that the weights and their schedule ask of each source in `steps` steps."""
    names = [source.name for source in config.data.sources]
    changes = parts(config.mixture)
    rows = dict.fromkeys(names, 0.0)
    for i, (start, weights) in enumerate(changes):
        end = changes[i + 1][0] if i + 1 < len(changes) else steps
        count = max(0, min(end, steps) - start) * config.data.rows_per_batch
        for name, weight in zip(names, weights):
            rows[name] += count * weight / sum(weights)
    return rows


def shown(weights: Sequence[int], config: Config) -> str:
    """Weights in words: "60, 30, 10 (captions 60.0 %, ...)"."""
    total = sum(weights)
    shares = ", ".join(
        f"{source.name} {100 * weight / total:.1f} %"
        for source, weight in zip(config.data.sources, weights)
    )
    return f"{', '.join(map(str, weights))} ({shares})"

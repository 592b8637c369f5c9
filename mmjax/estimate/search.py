"""Predictions of many variants of a config, one beside the other."""

import copy
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from mmjax import config as config_lib
from mmjax import dry_run, metrics, typecheck, validation
from mmjax.config import Config
from mmjax.estimate import parts, prediction, text
from mmjax.estimate.prediction import Prediction
from mmjax.estimate.topologies import GIB


class Variant(NamedTuple):
    """A config with some fields changed."""

    changes: tuple[tuple[str, str], ...]  # (field, value), as on the command line
    config: Config

    @property
    def name(self) -> str:
        return " ".join(f"{field}={value}" for field, value in self.changes)


class Outcome(NamedTuple):
    """What became of a variant: a prediction, or why there is none."""

    variant: Variant
    found: Prediction | None
    problem: str


def variants(config: Config, searched: Sequence[str]) -> list[Variant]:
    """Every combination of values such as `model.decoder.remat=full,dots`.

    Raises ValueError for fields that don't exist and values of another type.
    """
    axes = []
    for entry in searched:
        field, equals, values = entry.removeprefix("config.").partition("=")
        if not equals or not values:
            raise ValueError(
                f"--search={entry}: must be FIELD=VALUE,VALUE, as in mesh.fsdp=8,16"
            )
        problem = typecheck.override_problem(f"config.{field}")
        if problem:
            raise ValueError(problem)
        axes.append([(field, value) for value in values.split(",")])
    return [
        Variant(changes, _changed(config, changes))
        for changes in itertools.product(*axes)
    ]


def _changed(config: Config, changes: Sequence[tuple[str, str]]) -> Config:
    made = copy.deepcopy(config)
    for field, value in changes:
        current = config_lib.value(made, field)
        config_lib.assign(made, field, _read(f"{field}={value}", value, current))
    return made


def _read(entry: str, value: str, current: Any) -> Any:
    """The value as the field's type has it."""
    kind = type(current)
    if kind is bool and value in ("true", "false"):
        return value == "true"
    if kind not in (int, float, str):
        raise ValueError(f"--search={entry}: is no number, word or true/false")
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"--search={entry}: must be of type {kind.__name__}") from None


def outcomes(
    tried: Sequence[Variant], estimate: Callable[[Config, str], Prediction]
) -> Iterator[Outcome]:
    """Yields the outcome of each variant; what can't be is an outcome as well.

    `estimate` is given the config and the variant's name.
    """
    for variant in tried:
        try:
            validation.validate(variant.config)
            yield Outcome(variant, estimate(variant.config, variant.name), "")
        except ValueError as error:
            yield Outcome(variant, None, str(error).splitlines()[0])


def lines(found: Sequence[Outcome]) -> Iterator[str]:
    """A table of all variants, the fastest by tokens first, then what can't be."""
    possible = [(each.variant.name, each.found) for each in found if each.found]
    possible.sort(key=lambda each: each[1].seconds / each[1].workload.work.positions)
    rows = [(name, *_cells(prediction)) for name, prediction in possible]
    header = ("variant", "step", "MFU", "tokens/s", "GiB/device", "exposed", "layout")
    yield from dry_run.table(header, rows)
    yield from (
        f"{each.variant.name}: {each.problem}" for each in found if not each.found
    )
    if possible:
        yield text.trust(possible[0][1])


def _cells(found: Prediction) -> tuple[str, ...]:
    kinds = parts.by_kind(found.replay.events)
    return (
        text.duration(found.seconds),
        f"{found.mfu:.1%}",
        metrics.compact(found.workload.work.positions / found.seconds),
        f"{found.memory.total / GIB:.1f}",
        f"{kinds['collectives'] / found.seconds:.1%}",
        f"{kinds['copies'] / found.seconds:.1%}",
    )


def to_json(found: Sequence[Outcome]) -> str:
    """The outcomes for programs, in the order of the search."""
    return json.dumps(
        [
            {
                "changes": dict(each.variant.changes),
                "problem": each.problem or None,
                "prediction": each.found and json.loads(prediction.to_json(each.found)),
            }
            for each in found
        ],
        indent=1,
    )

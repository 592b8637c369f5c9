"""Changes the mixture of a run that goes on, or shows how it went so far.

    python -m mmjax.mixture --workdir=runs/a --weights=60,30,10 [--step=5000]
    python -m mmjax.mixture --workdir=runs/a

The first asks for other weights, from a step on or as soon as possible: the run takes
the request up at its next log line, or when it is started again, and alters no batch
that it has made. The second prints the schedule of weights, what is waiting, what was
refused and why, and what every source has delivered beside what the weights ask.
"""

import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from absl import flags
from absl.flags import FlagValues

from data_pipelines import pools
from data_pipelines.inspect import command_line, tables
from mmjax import cli, metrics, mixture_files, schedule, validation
from mmjax import config as config_lib
from mmjax.config import Config
from mmjax.mixture_files import Request

# What is counted, by mixture.unit.
COUNTED = {"row": "rows", "loss_token": "loss_tokens", "document": "documents"}


class Seen(NamedTuple):
    """What the files of a run tell."""

    config: Config  # with the changes that were taken up
    step: int  # of the last record
    delivered: dict[str, float]  # rows or loss tokens of each source
    waiting: list[str]  # requests, as lines
    records: list[dict[str, Any]]  # what became of the others


def main(argv: Sequence[str]) -> None:
    """Asks for a change, or prints how things are; ValueError for a mistake."""
    values = _parse(argv)
    if values.help:
        print(f"{__doc__}\n{command_line.listed(values)}")
        return
    workdir = pathlib.Path(values.workdir)
    seen = look(workdir)
    if values.weights is None:
        lines = show(seen)
    else:
        wish = Request(_weights(values.weights), values.step or 0)
        lines = ask(workdir, seen, wish)
    for line in lines:
        print(line)


def look(workdir: pathlib.Path) -> Seen:
    """Reads the files of a run; ValueError where there is none."""
    path = workdir / "config.json"
    if not path.is_file():
        raise ValueError(f"--workdir={workdir}: holds no run, config.json is missing")
    config = config_lib.from_dict(json.loads(path.read_text())["config"])
    found = mixture_files.lines(workdir / mixture_files.CHANGES)
    records = mixture_files.outcomes(found)
    asked = mixture_files.lines(workdir / mixture_files.REQUESTS)
    handled = {record["request"] for record in records}
    what = COUNTED[config.mixture.unit]
    names = [f"delivered/{source.name}/{what}" for source in config.data.sources]
    measured = metrics.read_lines(workdir / "metrics.jsonl")
    last = next((r for r in reversed(measured) if names[0] in r), {"step": 0})
    return Seen(
        schedule.merged(config, mixture_files.taken(records)),
        int(last["step"]),
        {s.name: last.get(n, 0) for s, n in zip(config.data.sources, names)},
        mixture_files.waiting(asked, handled),
        records,
    )


def ask(workdir: pathlib.Path, seen: Seen, wish: Request) -> Iterator[str]:
    """Appends a request and tells what will happen; ValueError for one in vain."""
    config = seen.config
    _check(seen, wish)
    request = mixture_files.ask(workdir, wish)
    every = config.log.every
    taken = min((seen.step // every + 1) * every, config.steps)
    first = max(pools.changeable_from(config, taken), 1)
    yield f"request {request}: weights {schedule.shown(wish.weights, config)}"
    yield (
        f"the run, last seen at step {seen.step}, takes it up at its next log line, or "
        "at its newest checkpoint when it is started again"
    )
    step = max(first, wish.step)
    soon = f" (step {wish.step} is too soon)" if 0 < wish.step < first else ""
    yield f"taken up at step {taken}, it holds from step {step} on{soon}"
    for start, weights in schedule.parts(config.mixture):
        if start > step:
            shown = schedule.shown(weights, config)
            yield f"until step {start}, from which the schedule has {shown}"
            break


def show(seen: Seen) -> Iterator[str]:
    """Schedule, requests, and deliveries of a run."""
    config = seen.config
    yield f"step {seen.step} of {config.steps}, by the last record"
    yield "\nschedule"
    for start, weights in schedule.parts(config.mixture):
        origin = "".join(
            f", request {r['request']} taken up at step {r['at']}"
            for r in seen.records
            if r["outcome"] == "taken" and (r["step"], tuple(r["weights"]))
            == (start, weights)
        )  # fmt: skip
        yield f"  from step {start}: {schedule.shown(weights, config)}{origin}"
    for line in seen.waiting:
        yield f"waiting: request {mixture_files.name(line)}: {line}"
    for record in seen.records:
        if record["outcome"] == "refused":
            where = f"request {record['request']} at step {record['at']}"
            yield f"refused: {where}: {record['reason']}"
    yield f"\n{_deliveries(seen)}"


def _deliveries(seen: Seen) -> str:
    """A table of what was delivered by source, beside what the weights ask."""
    config, what = seen.config, COUNTED[seen.config.mixture.unit]
    rows = schedule.expected_rows(config, max(seen.step, 1))
    total, given = sum(rows.values()), sum(seen.delivered.values())
    return tables.table(
        ("source", what, "delivered", "weights ask", f"{what} beyond"),
        [
            (
                name,
                f"{count:,.0f}",
                tables.percent(count, given, 3),
                tables.percent(rows[name], total, 3),
                f"{count - given * rows[name] / total:+,.2f}" if given else "-",
            )
            for name, count in seen.delivered.items()
        ],
    )


def _check(seen: Seen, wish: Request) -> None:
    """Raises ValueError for a request that the run could only refuse."""
    config = seen.config
    names = [source.name for source in config.data.sources]
    problem = validation.weights_problem(wish.weights, names)
    if problem:
        raise ValueError(f"--weights={problem}")
    opened = pools.used_sources(config)
    closed = [n for n, w, o in zip(names, wish.weights, opened) if w and not o]
    if closed:
        raise ValueError(
            f"--weights={wish.weights}: source {', '.join(closed)} has no weight in "
            "the run's config, so it isn't open; add the change to mixture.schedule of "
            "the config and start the run again"
        )
    if seen.step >= config.steps:
        raise ValueError(f"the run has ended, after step {config.steps}")
    if wish.step >= config.steps:
        raise ValueError(f"--step={wish.step}: the run ends at step {config.steps}")


def _weights(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(
            f"--weights={text}: must be integers with commas, one a source"
        ) from error


def _parse(argv: Sequence[str]) -> FlagValues:
    """The flags; ValueError for a mistake in them."""
    values = FlagValues()
    flags.DEFINE_bool("help", False, "Show this and exit.", flag_values=values)
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=values)
    flags.DEFINE_string(
        "weights", None, "Weights to ask for, one a source: 60,30,10.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "step", None, "First step of these weights; default: as soon as possible.",
        lower_bound=1, flag_values=values,
    )  # fmt: skip
    try:
        rest = values(list(argv))
    except flags.Error as error:
        raise ValueError(" ".join(str(error).split())) from error
    if len(rest) > 1:
        raise ValueError(f"{rest[1]!r}: not a flag (flags begin with --)")
    if not values.help and not values.workdir:
        raise ValueError("--workdir is missing: the folder of the run")
    if values.step is not None and values.weights is None:
        raise ValueError(f"--step={values.step}: needs --weights")
    return values


if __name__ == "__main__":
    cli.explained(main, sys.argv)

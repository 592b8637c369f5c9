"""Shows what a prepared corpus and a plan hold.

    python -m data_pipelines.inspect stats --root=ROOT [--page=stats.html]
    python -m data_pipelines.inspect lint --root=ROOT [--all] [--workers=4]
    python -m data_pipelines.inspect rows --config=FILE --page=rows.html
    python -m data_pipelines.inspect mixture --config=FILE [--steps=1000]
    python -m data_pipelines.inspect bench --config=FILE [--batches=20]

stats    documents, images, tokens, sizes, labels and duplicates of prepared folders
lint     reads all of it again and names every shard and record that is wrong
rows     a page of packed rows, just as a training step gets them
mixture  what each source delivers in a run, exactly, before it runs
bench    how fast this machine makes batches, and in how much memory

COMMAND --help lists its flags. Fields of a config are overridden as in training:
--config.data.root=ROOT. Exit status: 1 where lint finds something, 2 for a mistake.
"""

import functools
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from absl import flags
from absl.flags import FlagValues

from data_pipelines import bars, pipeline
from data_pipelines.batches import Pipeline
from data_pipelines.inspect import (
    bench,
    command_line,
    folders,
    lint,
    mixture,
    pages,
    rows,
    rows_page,
    stats,
    stats_page,
    stats_text,
)  # fmt: skip
from data_pipelines.prepare import sample_world
from mmjax.config import Config

PROBLEMS, USER_ERROR = 1, 2  # exit statuses
EVERY = 20  # documents, of which lint counts the tokens of one unless it is for all


class Command(NamedTuple):
    """One way to look."""

    define: Callable[[FlagValues], None]  # its flags
    with_config: bool
    run: Callable[[FlagValues], int]  # gives the exit status


def main(arguments: Sequence[str]) -> int:
    """Runs the command that the arguments begin with; returns the exit status.

    Raises ValueError, a line a problem, for what the user can put right.
    """
    name = arguments[0] if arguments else "--help"
    if name in ("help", "--help", "-help", "--helpshort", "-h"):
        print(__doc__)
        return 0
    if name not in COMMANDS:
        raise ValueError(f"{name!r}: the commands are {', '.join(COMMANDS)}")
    command = COMMANDS[name]
    values = command_line.parse(command.define, command.with_config, arguments[1:])
    if values.help:
        print(f"python -m data_pipelines.inspect {name}")
        print(command_line.listed(values))
        return 0
    return command.run(values)


def _define_root(values: FlagValues) -> None:
    flags.DEFINE_string("root", "", "Folder of prepared corpora.", flag_values=values)
    flags.DEFINE_string(
        "tokenizer",
        "",
        "Sentencepiece model that they are indexed for. Default: tokenizer.model in "
        "the root.",
        flag_values=values,
    )


def _define_page(values: FlagValues) -> None:
    flags.DEFINE_string("page", "", "HTML file to write.", flag_values=values)


def _define_stats(values: FlagValues) -> None:
    _define_root(values)
    _define_page(values)
    flags.DEFINE_integer(
        "limit",
        50_000,
        "Documents of a folder that are read, evenly spread; 0: all. (Amounts and "
        "sizes are of all anyway.)",
        lower_bound=0,
        flag_values=values,
    )


def _stats(values: FlagValues) -> int:
    pages.check(values.page, needed=False)
    names = folders.find(values.root)
    words = folders.open_tokenizer(values.root, values.tokenizer)
    found = [stats.measure(values.root, name, words, values.limit) for name in names]
    print(stats_text.render(found, words))
    if values.page:
        pages.write(values.page, stats_page.render(values.root, found, words))
        print(f"wrote {values.page}")
    return 0


def _define_lint(values: FlagValues) -> None:
    _define_root(values)
    flags.DEFINE_bool(
        "all",
        False,
        f"Count the tokens of all documents again, not only of one in {EVERY}.",
        flag_values=values,
    )
    flags.DEFINE_integer("workers", 1, "Processes.", lower_bound=1, flag_values=values)


def _lint(values: FlagValues) -> int:
    names = folders.find(values.root)
    words = folders.open_tokenizer(values.root, values.tokenizer)
    every, count = 1 if values.all else EVERY, 0
    for line in lint.problems(values.root, words, every, values.workers):
        bars.above(line)  # above the progress bar
        count += 1
    verdict = f"problems: {count:,}" if count else "no problems"
    print(f"{len(names)} folders: {verdict}", file=sys.stderr)
    return PROBLEMS if count else 0


def _define_rows(values: FlagValues) -> None:
    _define_page(values)
    flags.DEFINE_integer(
        "step", 0, "Batch to begin with.", lower_bound=0, flag_values=values
    )
    flags.DEFINE_integer("count", 8, "Rows to show.", lower_bound=1, flag_values=values)


def _rows(values: FlagValues) -> int:
    pages.check(values.page, needed=True)
    config = command_line.config(values)
    opened = _open(config)
    found = list(rows.read(config, opened, values.step, values.count))
    name = f"{pathlib.Path(config.data.root).name}, batch {values.step}"
    pages.write(values.page, rows_page.render(name, config, found))
    print(f"wrote {values.page}")
    return 0


def _define_mixture(values: FlagValues) -> None:
    flags.DEFINE_integer(
        "steps", 0, "Of the run; 0: as configured.", lower_bound=0, flag_values=values
    )


def _mixture(values: FlagValues) -> int:
    config = mixture.for_steps(command_line.config(values), values.steps)
    print(mixture.text(config, _open(config)))
    return 0


def _define_bench(values: FlagValues) -> None:
    flags.DEFINE_integer(
        "batches", 20, "Batches to make.", lower_bound=1, flag_values=values
    )


def _bench(values: FlagValues) -> int:
    config = command_line.config(values)
    _make_sample_world(config)
    # Without a cache: what the first start of a run takes.
    measured = bench.measure(functools.partial(pipeline.open, config), values.batches)
    print(bench.text(config, measured))
    return 0


def _open(config: Config) -> Pipeline:
    _make_sample_world(config)
    return pipeline.open(config, command_line.plan_cache(config))


def _make_sample_world(config: Config) -> None:
    """Makes the sample world where training would."""
    if config.data.sample_world.enabled:
        sample_world.ensure(config.data.root, config.data.sample_world)


COMMANDS = {
    "stats": Command(_define_stats, False, _stats),
    "lint": Command(_define_lint, False, _lint),
    "rows": Command(_define_rows, True, _rows),
    "mixture": Command(_define_mixture, True, _mixture),
    "bench": Command(_define_bench, True, _bench),
}


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # as of `stats | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

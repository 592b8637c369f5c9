"""Would it fit, how fast would it be, and what would it cost? No TPU is needed.

    python -m mmjax.estimate --config=configs/mm1_3b.py --topology=v5p:4x4x8

Compiles the train step for a topology of TPUs (GENERATION:CHIPSxALONGxAXES, as in
v6e:8x8, or 2xv5p:4x4x4 for two slices) and replays what the compiler scheduled. For
GPUs (h100:64) memory and FLOPs are told; no model of their time exists. Needs
pip install 'mmjax[estimate]'.
"""

import dataclasses
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence

from absl import flags
from absl.flags import FlagValues
from ml_collections import config_flags

from data_pipelines.inspect import command_line
from mmjax import cli, validation
from mmjax.config import Config
from mmjax.estimate import (
    compiler_flags,
    estimator,
    gpus,
    largest_batch,
    page,
    prediction,
    search,
    text,
    topologies,
    workload,
)
from mmjax.estimate.estimator import Ask
from mmjax.estimate.prediction import Prediction
from mmjax.estimate.topologies import Topology


def main(argv: Sequence[str]) -> None:
    """Runs the command line; ValueError for a mistake in it, and where memory lacks."""
    values = command_line.parse(_define, True, argv[1:])
    if values.help:
        print(f"{__doc__}\n{command_line.listed(values)}")
        return
    if not values.topology:
        raise ValueError("--topology is missing: such as --topology=v5p:4x4x8")
    page.check(values.page)
    if re.search(r"\s", values.keep):  # XLA takes it for the end of a flag
        raise ValueError(f"--keep={values.keep!r}: must have no space in it")
    config = command_line.config(values)
    with tempfile.TemporaryDirectory() as temporary:
        asked = estimator.Ask(
            values.images_per_row,
            values.flags,
            values.flag,
            values.price_per_chip_hour,
            pathlib.Path(values.keep or temporary),
        )
        for line in _run(config, values, asked):
            print(line, flush=True)


def _define(values: FlagValues) -> None:
    def string(name: str, default: str, words: str) -> None:
        flags.DEFINE_string(name, default, words, flag_values=values)

    string("topology", "", "Devices to predict for, such as v5p:4x4x8.")
    string("page", "", "HTML file to write, with a picture of the step's timeline.")
    string("keep", "", "Folder that keeps what was compiled, to be used again.")
    flags.DEFINE_bool(
        "json", False, "Print JSON in place of tables.", flag_values=values
    )
    flags.DEFINE_float(
        "price_per_chip_hour", 0.0, "What a chip costs an hour.", flag_values=values
    )
    flags.DEFINE_float(
        "images_per_row",
        16.0,
        "Image slots of a row where the data aren't there to tell.",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_enum(
        "flags", "default", ["default", "none"],
        "Options of the TPU compiler: ours, or its own defaults.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_bool(
        "show_flags",
        False,
        "Print the compiler's options for the topology with their reasons, and exit.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "search",
        [],
        "Fields to vary, as in mesh.fsdp=8,16: all combinations.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "largest_batch",
        False,
        "Find the most rows a batch can have, from data.rows_per_batch on.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "flag", [], "One more option of the compiler, NAME=VALUE.", flag_values=values
    )


def _run(config: Config, values: FlagValues, asked: Ask) -> Iterator[str]:
    _check_together(values)
    if gpus.is_gpu(values.topology) and not values.show_flags:
        load = workload.of(config, asked.images_per_row)
        yield from gpus.lines(
            config, values.topology, load, asked.folder, bool(values.json)
        )
        return
    if values.show_flags:
        name = _generation(values.topology)
        options = compiler_flags.options(name, asked.flags, asked.more_flags)
        yield from compiler_flags.lines(name, options)
        return
    topology = topologies.parse(values.topology)
    if values.search or values.largest_batch:
        yield from _several(config, topology, values, asked)
        return
    found = estimator.estimate(config, topology, asked)
    if values.page:
        page.write(values.page, found, _name(values))
    yield from [prediction.to_json(found)] if values.json else text.lines(found)


def _generation(topology: str) -> str:
    if gpus.is_gpu(topology):
        return gpus.kind_and_count(topology)[0]
    return topologies.parse(topology).generation.name


def _check_together(values: FlagValues) -> None:
    """Raises ValueError for flags that don't go together."""
    many = [f"--search={each}" for each in values.search]
    many += ["--largest_batch"] if values.largest_batch else []
    if not many:
        return
    if values.page:
        raise ValueError(f"--page={values.page}: of one prediction, not of {many[0]}")
    if values.search and values.largest_batch:
        raise ValueError("--largest_batch: not together with --search")
    if gpus.is_gpu(values.topology):
        raise ValueError(f"{many[0]}: for TPUs only, not {values.topology}")


def _several(
    config: Config, topology: Topology, values: FlagValues, asked: Ask
) -> Iterator[str]:
    """A table of the variants that --search names, or of those of --largest_batch."""

    def one(config: Config, name: str) -> Prediction:
        estimator.say(name)
        folder = asked.folder / name.replace(" ", ",")
        return estimator.estimate(config, topology, asked._replace(folder=folder))

    if values.search:
        tried = search.variants(config, values.search)
        found = list(search.outcomes(tried, one))
        yield from [search.to_json(found)] if values.json else search.lines(found)
        return
    mesh = validation.resolve_mesh(config, topology.devices)
    config = dataclasses.replace(config, mesh=mesh)
    most = largest_batch.find(config, topology, one)
    yield from (
        [largest_batch.to_json(most)]
        if values.json
        else largest_batch.lines(most, topology)
    )


def _name(values: FlagValues) -> str:
    """The config file's name, without folder and ending."""
    path = config_flags.get_config_filename(values["config"])
    return pathlib.Path(path).stem


if __name__ == "__main__":
    cli.explained(main, sys.argv)

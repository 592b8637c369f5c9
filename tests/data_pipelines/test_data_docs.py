"""The page docs/data.md: its examples run, its names are those of the code."""

import dataclasses
import pathlib
import re
import shlex

import pytest
import small_world
from absl import flags

from data_pipelines import faults
from mmjax import cli
from mmjax import config as config_lib

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("error::SyntaxWarning")
def test_the_examples_run_one_after_another(tmp_path, capsys):
    world = small_world.make(tmp_path)
    names = {"config": world.config(), "folder": f"{world.root}/captions/train"}
    for block in BLOCKS:
        exec(compile(block, "docs/data.md", "exec"), names)
    assert len(BLOCKS) >= 7
    assert "Held(batches=" in capsys.readouterr().out


def test_every_field_that_it_names_exists():
    parts = {
        "data": config_lib.Data,
        "mixture": config_lib.Mixture,
        "model": config_lib.Model,
    }
    named = set(re.findall(r"`(data|mixture|model)\.(\w+)", PAGE))
    assert ("data", "on_bad_record") in named
    for part, name in named:
        assert name in {f.name for f in dataclasses.fields(parts[part])}, name


def test_its_reasons_units_and_defaults_are_those_of_the_code():
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line[:3] == "| `"]
    first = [cells[0].strip(" `") for cells in rows]
    assert first == [
        *config_lib.IMAGE_RESIZES, *config_lib.INTERPOLATIONS, *config_lib.TILINGS,
        *config_lib.UNITS, *faults.REASONS,
    ]  # fmt: skip
    how = config_lib.Preprocessing()
    for value in (how.resize, how.interpolation, how.tiling):
        (line,) = (
            text for text in PAGE.splitlines() if text.startswith(f"| `{value}` |")
        )
        assert "(the default)" in line
    data = config_lib.Data()
    assert f'`data.on_bad_record="{data.on_bad_record}"`, the default' in PAGE
    assert f"{faults.WINDOW:,} documents ({data.max_bad_share:g}: ten" in " ".join(
        PAGE.split()
    )


def test_its_commands_of_tiled_runs_are_valid():
    commands = re.findall(
        r"^    python -m mmjax\.train (.*preproc.*)$", PAGE, re.MULTILINE
    )
    for command, crops in zip(commands, (5, 5), strict=True):
        argv = ["program", *shlex.split(command)]
        argv = [word.replace("configs/", f"{ROOT}/configs/") for word in argv]
        values = flags.FlagValues()
        cli.define(values, argv)
        config = cli.parse(argv, values).config
        assert config_lib.most_crops(config.model) == crops

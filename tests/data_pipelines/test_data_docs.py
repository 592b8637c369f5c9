"""The page docs/data.md: its examples run, its names are those of the code."""

import dataclasses
import pathlib
import re

import pytest
import small_world

from data_pipelines import faults
from mmjax import config as config_lib

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")
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
    parts = {"data": config_lib.Data, "mixture": config_lib.Mixture}
    named = set(re.findall(r"`(data|mixture)\.(\w+)", PAGE))
    assert ("data", "on_bad_record") in named
    for part, name in named:
        assert name in {f.name for f in dataclasses.fields(parts[part])}, name


def test_its_reasons_units_and_defaults_are_those_of_the_code():
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line[:3] == "| `"]
    first = [cells[0].strip(" `") for cells in rows]
    assert first == [*config_lib.UNITS, *faults.REASONS]
    data = config_lib.Data()
    assert f'`data.on_bad_record="{data.on_bad_record}"`, the default' in PAGE
    assert f"{faults.WINDOW:,} documents ({data.max_bad_share:g}: ten" in " ".join(
        PAGE.split()
    )

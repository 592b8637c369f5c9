"""What configs set by hardware: valid on it, and without a change of the batches."""

import dataclasses
import importlib

import pytest
from absl import flags

from configs import hardware
from mmjax import cli, validation
from mmjax.estimate import gpus, topologies

CHOICES = [
    (name, place) for name in hardware.CHOICES for place in hardware.CHOICES[name]
]


def load(name, *arguments):
    return importlib.import_module(f"configs.{name}").get_config(*arguments)


@pytest.mark.parametrize(("name", "place"), CHOICES)
def test_every_choice_is_valid_on_its_devices_and_keeps_the_batches(name, place):
    config, plain = load(name, place), load(name)
    validation.validate(config)
    if gpus.is_gpu(place):
        devices = gpus.kind_and_count(place)[1]
    else:
        devices = topologies.parse(place).devices
    mesh = validation.resolve_mesh(config, devices)
    over = devices // mesh.tensor * config.optim.accumulate
    rows = config.data.rows_per_batch / over
    assert rows >= 1
    groups = config.data.rows_per_batch // config.data.rows_per_pool
    assert groups % (mesh.data * config.optim.accumulate) == 0
    same = {"accumulate": 1, "zero1": False}  # neither changes an update
    assert dataclasses.replace(config.optim, **same) == plain.optim
    multiple = plain.data.pool_multiple * mesh.tensor
    assert config.data == dataclasses.replace(plain.data, pool_multiple=multiple)
    for part in "mixture", "evaluation":
        assert getattr(config, part) == getattr(plain, part)


def test_hardware_that_nothing_is_set_for_is_told_with_what_there_is():
    with pytest.raises(ValueError, match=r"^mm1_3b\.py:h100:9: .* only for .*h100:8, "):
        load("mm1_3b", "h100:9")


def test_the_command_line_names_hardware_behind_the_file():
    argv = ["program", "--config=configs/mm1_3b.py:h100:64", "--config.mesh.fsdp=4"]
    values = flags.FlagValues()
    cli.define(values, argv)
    launch = cli.parse(argv, values)
    assert vars(launch.config.mesh) == {
        "data": 8,
        "fsdp": 4,
        "tensor": 1,
        "expert": 1,
        "context": 1,
    }
    assert launch.config.optim.accumulate == 2
    assert launch.workdir.name == "mm1_3b"

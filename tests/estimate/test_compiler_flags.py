"""Options of the compiler: ours, none, and one's own."""

import os
import subprocess
import sys

import pytest

from mmjax.estimate import compiler_flags, gpus, topologies

VMEM = "xla_tpu_scoped_vmem_limit_kib"


def test_every_generation_has_flags_and_every_flag_a_reason():
    hardware = {*topologies.GENERATIONS, *gpus.MEMORY}
    assert set(compiler_flags.FLAGS) == hardware
    for flags in compiler_flags.FLAGS.values():
        assert len({flag.name for flag in flags}) == len(flags)
        assert all(len(flag.reason.split()) > 2 for flag in flags)


def test_an_option_can_be_added_changed_and_taken_away():
    ours = compiler_flags.options("v6e", "default", [])
    assert ours[VMEM] == "98304"
    assert compiler_flags.options("v6e", "default", [f"{VMEM}="]) == {
        name: value for name, value in ours.items() if name != VMEM
    }
    more = ["--xla_a=true", f"{VMEM}=1"]
    assert compiler_flags.options("v6e", "none", more) == {"xla_a": "true", VMEM: "1"}


@pytest.mark.parametrize("entry", ["xla_a", "=true"])
def test_an_option_without_a_value_is_refused(entry):
    with pytest.raises(ValueError, match="NAME=VALUE"):
        compiler_flags.options("v5p", "default", [entry])


@pytest.mark.parametrize(
    ("generation", "name"), [("v6e", "LIBTPU_INIT_ARGS"), ("h100", "XLA_FLAGS")]
)
def test_shown_flags_have_reasons_and_end_in_the_variable_of_a_real_run(
    generation, name
):
    chosen = compiler_flags.options(generation, "default", ["xla_a=true"])
    *reasons, variable = compiler_flags.lines(generation, chosen)
    assert [line.partition("=")[0] for line in reasons] == list(chosen)
    assert reasons[-1] == "xla_a=true: asked for"
    arguments = variable.removeprefix(f"{name}=").strip("'").split()
    assert dict(word[2:].split("=") for word in arguments) == chosen


def test_xla_knows_every_option_of_gpus():
    """Its own parser ends a process at once that names one it doesn't know."""

    def ends(*more) -> int:
        options = compiler_flags.options("h100", "default", list(more))
        flags = " ".join(f"--{name}={value}" for name, value in options.items())
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-c", "import jax; jax.devices()"]
        return subprocess.run(command, env=environment, capture_output=True).returncode

    assert ends() == 0
    assert ends("xla_gpu_never_heard_of=true") != 0

"""The program: what it says where something is wrong, and what it needs nothing for."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from mmjax import hlo
from mmjax.estimate import __main__ as program
from mmjax.estimate import compiling, kernels

ROOT = pathlib.Path(program.__file__).parents[2]
CONFIG = f"--config={ROOT}/configs/mm1_3b.py"


def told(*arguments):
    """The message of the ValueError that a command line ends in."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        program.main(["estimate", CONFIG, *arguments])
    return str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--topology is missing"),
        (("--topology=v9:4x4",), "--topology=v9:4x4: not known"),
        (("--topology=v5p:4x4",), "v5p has 3 axes"),
        (("--topology=v5p:3x5x7",), "must multiply to the 105 devices"),
        (("--topology=v5p:16x16x16",), "must divide pool groups"),
        (("--topology=h100:many",), "must be like h100:64"),
        (("--topology=h100:24",), "must multiply to the 24 devices"),
        (("--topology=v5p:4x4x4", "--page=missing/page.html"), "no such folder"),
        (("--topology=v5p:4x4x4", "--flag=xla_a"), "NAME=VALUE"),
        (("--topology=v5p:4x4x4", "--flags=some"), "--flags"),
        (("--topology=v5p:4x4x4", "--keep=a b"), "no space"),
        (("--topology=v5p:4x4x4", "--search=mesh.fsdp"), "FIELD=VALUE"),
        (("--topology=v5p:4x4x4", "--config.mesh.fdsp=2"), "config.mesh.fdsp"),
        (("--topology=h100:8", "--search=mesh.fsdp=8"), "for TPUs only, not h100:8"),
        (("--topology=h100:8", "--largest_batch"), "for TPUs only, not h100:8"),
        (
            ("--topology=v5p:4x4x4", "--largest_batch", "--search=mesh.fsdp=8"),
            "not together with --search",
        ),
        (
            ("--topology=v5p:4x4x4", "--largest_batch", "--page=a.html"),
            "of one prediction, not of --largest_batch",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments, words):
    message = told(*arguments)
    assert words in message
    assert "\n" not in message


def test_a_missing_compiler_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(compiling, "NEEDED", "no_such_package")
    message = told("--topology=v5p:4x4x4")
    assert "pip install 'mmjax[estimate]'" in message
    assert "\n" not in message


def test_help_needs_no_config_and_names_every_flag(capsys):
    program.main(["estimate", "--help"])
    shown = capsys.readouterr().out
    for flag in ("topology", "page", "keep", "json", "price_per_chip_hour", "flags"):
        assert f"--{flag}:" in shown
    assert shown.count("python -m") == 1  # its own command


def test_the_program_starts_no_backend_of_jax():
    # On the host of a TPU its own backend would take the TPU.
    code = (
        "import mmjax.estimate.__main__ as program\n"
        "try: program.main(['estimate', '--config=configs/mm1_3b.py', "
        "'--topology=v5p:3x5x7'])\n"
        "except ValueError: pass\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge._backends, xla_bridge._backends\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ), check=True
    )


SMALL = [
    f"--config={ROOT}/configs/quickstart.py",
    "--config.data.root=missing",
    "--config.data.sample_world.enabled=false",
    "--config.data.rows_per_batch=16",
    "--config.data.pool_multiple=16",
    "--config.mesh.data=-1",
    "--config.mesh.fsdp=4",
    "--config.model.vit.layers=2",
    "--config.model.decoder.layers=2",
    "--config.model.decoder.head_size=128",
]


def test_gpus_have_memory_and_flops_and_no_time(capsys, tmp_path):
    arguments = [*SMALL, "--topology=h100:8", "--json", f"--keep={tmp_path}"]
    program.main(["estimate", *arguments])
    found = json.loads(capsys.readouterr().out)
    sizes = {"data": 2, "fsdp": 4, "tensor": 1, "expert": 1, "context": 1}
    assert found["mesh"] == sizes
    held = found["held_bytes_per_chip"]
    # Two float32 moments of each parameter, which all are trained, and counters.
    assert held["moments"] == pytest.approx(2 * held["parameters"], rel=1e-3)
    assert held["gradients"] == held["parameters"]
    assert found["predicted_mfu"] is None
    assert found["step_seconds"] is None
    least = sum(found["model_flops"].values()) / (8 * 989e12)
    assert found["step_seconds_at_peak"] == pytest.approx(least)
    program.main(["estimate", *arguments[:-2], f"--keep={tmp_path}"])
    shown = capsys.readouterr().out
    assert "no model of the speed of GPUs" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert rows[-1][:2] == ["in", "all"]
    assert ["encoder", "trained"] in [row[:: len(row) - 1] for row in rows if row[1:]]


def test_what_was_asked_before_is_not_computed_again(capsys, tmp_path):
    arguments = [*SMALL, "--topology=h100:8", "--json", f"--keep={tmp_path}"]
    program.main(["estimate", *arguments])
    first = json.loads(capsys.readouterr().out)
    kept = tmp_path / "result.json"
    before = kept.stat().st_mtime_ns
    program.main(["estimate", *arguments])
    assert json.loads(capsys.readouterr().out) == first
    assert kept.stat().st_mtime_ns == before
    program.main(["estimate", *arguments, "--config.model.decoder.layers=3"])
    assert kept.stat().st_mtime_ns != before
    assert json.loads(capsys.readouterr().out) != first


@pytest.mark.extra
@pytest.mark.slow
def test_a_run_on_a_tpu_that_isnt_there_is_predicted_from_end_to_end(capsys, tmp_path):
    if importlib.util.find_spec(compiling.NEEDED) is None:
        pytest.skip("needs libtpu")
    page = tmp_path / "page.html"
    arguments = [*SMALL, "--topology=v5p:2x2x2", f"--keep={tmp_path}/kept"]
    program.main(["estimate", *arguments, "--json", f"--page={page}"])
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["predicted_mfu"] < 1
    assert sum(found["parts"].values()) == pytest.approx(found["step_seconds"])
    flops = sum(found["model_flops"].values())
    assert found["predicted_mfu"] < found["predicted_hfu"]  # padding and empty slots
    possible = 8 * 459e12 * found["step_seconds"]
    assert found["predicted_mfu"] == pytest.approx(flops / possible)
    assert found["memory"]["parameters"] < found["bytes_per_chip"] < 2**30
    assert "quickstart on v5p:2x2x2" in page.read_text()
    assert found["attention"] == "model.vit.attention=splash, model.attention=splash"
    (program_text,) = (tmp_path / "kept").glob(f"*{compiling.PROGRAM}.txt")
    module = hlo.parse(program_text.read_text().splitlines())
    calls = [
        (instruction.name, hlo.scope(instruction))
        for computation in module.computations.values()
        for instruction in computation.instructions
        if kernels.is_kernel(instruction)
    ]
    for part in ("vit", "decoder"):
        for kernel in ("splash_mha_fwd", "splash_mha_dkv"):
            there = [name for name, scope in calls if f"/{part}/" in scope]
            assert any(name.startswith(kernel) for name in there), (part, kernel)
    program.main(["estimate", *arguments])  # compiled already
    assert "predicted: " in capsys.readouterr().out


@pytest.mark.extra
@pytest.mark.slow
def test_rows_over_devices_are_compiled_with_a_kernel_for_their_part(capsys, tmp_path):
    if importlib.util.find_spec(compiling.NEEDED) is None:
        pytest.skip("needs libtpu")
    rows = [
        "--config.data.row_tokens=1024",
        "--config.data.rows_per_batch=8",
        "--config.data.rows_per_pool=4",
        "--config.mesh.fsdp=2",
        "--config.mesh.context=2",
        "--config.model.vit.layers=1",
        "--config.model.decoder.layers=1",
    ]
    where = ["--topology=v5p:2x2x1", f"--keep={tmp_path}", "--json"]
    program.main(["estimate", *SMALL, *rows, *where])
    found = json.loads(capsys.readouterr().out)
    assert found["attention"].endswith("model.attention=splash")
    (program_text,) = tmp_path.glob(f"*{compiling.PROGRAM}.txt")
    module = hlo.parse(program_text.read_text().splitlines())
    gathered, forward = set(), set()
    for computation in module.computations.values():
        for each in computation.instructions:
            scope = hlo.scope(each)
            if "/decoder/" not in scope or "attention._attend" not in scope:
                continue
            if each.opcode.startswith("all-gather"):
                gathered.update(shape.dims for shape in each.shapes)
            if kernels.is_kernel(each):
                kernel = kernels.attention(each, split=False)
                assert kernel is not None
                forward.add(kernel.is_forward)
    assert gathered <= {(2, 2, 1024, 6, 128), (2, 2, 1024)}  # keys, values; segments
    assert (2, 2, 1024, 6, 128) in gathered
    assert forward == {True, False}


@pytest.mark.extra
@pytest.mark.slow
def test_a_step_that_doesnt_fit_is_told_with_what_is_largest(tmp_path):
    if importlib.util.find_spec(compiling.NEEDED) is None:
        pytest.skip("needs libtpu")
    large = [
        "--config.data.rows_per_batch=512",
        "--config.data.rows_per_pool=512",
        "--config.data.row_tokens=4096",
        "--config.model.loss_chunk=4096",
        "--config.mesh.data=1",
    ]
    with pytest.raises(ValueError, match="out of memory: needs") as raised:
        program.main(["estimate", *SMALL, *large, "--topology=v5e:2x2"])
    assert "; largest: " in str(raised.value)
    assert "\n" not in str(raised.value)

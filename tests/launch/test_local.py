import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = str(ROOT / "launch" / "local.sh")

# Stands in for a training: says its number, and ends as its flags want it to.
PROGRAM = """#!/usr/bin/env bash
number=$(printf '%s\\n' "$@" | sed -n 's/^--process_id=//p')
trap 'echo saved; exit 0' TERM
echo "process $number at work"
case "$*" in
  *--one-fails*) if [[ $number == 1 ]]; then echo "no data" >&2; exit 7; fi ;;
  *--all-wait*) ;;
  *) printf 'the end'; exit 0 ;;
esac
for _ in {1..300}; do sleep 0.1; done
"""


@pytest.fixture
def python(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "python"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return str(path)


def launch(*arguments: str, python: str = sys.executable, **environment: str):
    return subprocess.run(
        [SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHON": python, **environment},
    )


def test_a_dry_run_prints_one_command_a_process_that_a_shell_reads_back():
    flags = ["--config=configs/quickstart.py", "--workdir=/tmp/it's a run/$x"]
    found = launch("--processes=3", "--devices=4", "--dry-run", "--", *flags)
    assert found.returncode == 0, found.stderr
    commands = [shlex.split(line) for line in found.stdout.splitlines()]
    coordinators = set()
    for number, command in enumerate(commands):
        assert command[-2:] == flags
        assert command[command.index("-m") - 1 :][:3] == [
            sys.executable, "-m", "mmjax.train",
        ]  # fmt: skip
        assert f"--process_id={number}" in command
        assert "--processes=3" in command
        assert "JAX_PLATFORMS=cpu" in command
        assert any(word.endswith("device_count=4") for word in command)
        coordinators |= {word for word in command if word.startswith("--coordinator=")}
    assert len(commands) == 3
    assert len(coordinators) == 1
    assert coordinators.pop().startswith("--coordinator=127.0.0.1:")


def test_gpus_are_dealt_out_without_overlap():
    found = launch("--gpus=2", "--port=5000", "--dry-run", "--", "--config=x")
    assert "CUDA_VISIBLE_DEVICES=0,1 " in found.stdout.splitlines()[0]
    assert "CUDA_VISIBLE_DEVICES=2,3 " in found.stdout.splitlines()[1]
    assert "XLA_FLAGS" not in found.stdout


def test_xla_flags_of_the_caller_are_kept():
    found = launch(
        "--devices=2", "--dry-run", "--", "--config=x", XLA_FLAGS="--xla_dump_to=d"
    )
    words = shlex.split(found.stdout.splitlines()[0])
    flags = next(word for word in words if word.startswith("XLA_FLAGS="))
    assert flags.startswith("XLA_FLAGS=--xla_dump_to=d --xla_force")


def test_output_comes_line_by_line_after_the_number_of_its_process(python):
    found = launch("--processes=2", "--port=5000", "--", "--x", python=python)
    assert found.returncode == 0, found.stderr
    assert sorted(found.stdout.splitlines()) == [
        "[0] process 0 at work",
        "[0] the end",
        "[1] process 1 at work",
        "[1] the end",
    ]


def test_if_one_process_fails_the_others_end_and_its_status_is_the_scripts(python):
    began = time.monotonic()
    found = launch("--processes=3", "--port=5000", "--", "--one-fails", python=python)
    assert found.returncode == 7
    assert time.monotonic() - began < 20
    assert "[1] no data" in found.stdout
    assert found.stderr.splitlines() == [
        "launch/local.sh: process 1 ended with status 7; ending the others"
    ]


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_lets_every_process_save_and_leaves_none_behind(sent, status, python):
    arguments = [SCRIPT, "--processes=2", "--port=5000", "--", "--all-wait"]
    with subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHON": python},
    ) as running:
        assert running.stdout
        seen = [running.stdout.readline() for _ in range(2)]
        running.send_signal(sent)
        rest = running.stdout.read()  # ends when no process holds the pipe any more
        assert running.wait(timeout=30) == status
    assert sorted(seen) == ["[0] process 0 at work\n", "[1] process 1 at work\n"]
    assert "[0] saved" in rest
    assert "[1] saved" in rest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--processes=0", "--", "--x"], "--processes=0: must be a positive"),
        (["--devices=two", "--", "--x"], "--devices=two: must be a positive"),
        (["--devices=1", "--gpus=1", "--", "--x"], "--devices and --gpus"),
        (["--config=x"], "--config=x: not a flag of this script"),
        (["--processes=2"], "no flags of mmjax.train after --"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(arguments, message):
    found = launch(*arguments)
    assert found.returncode == 2
    assert found.stdout == ""
    assert len(found.stderr.splitlines()) == 1
    assert found.stderr.startswith(f"launch/local.sh: error: {message}")


@pytest.mark.slow
def test_two_processes_train_together(tmp_path):
    flags = [
        f"--config={ROOT / 'configs' / 'quickstart.py'}",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.root={tmp_path / 'world'}",
        "--config.steps=4", "--config.optim.warmup_steps=2", "--config.log.every=2",
        "--config.evaluation.every=0", "--config.evaluation.rows=8",
        "--config.data.sample_world.captions=200",
        "--config.data.sample_world.interleaved=120",
        "--config.data.sample_world.texts=120",
        "--config.data.sample_world.heldout=20",
        "--config.data.sample_world.questions=5", "--config.evaluation.shots=0,4",
    ]  # fmt: skip
    done = subprocess.run(
        [SCRIPT, "--processes=2", "--devices=2", "--", *flags],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHON": sys.executable, "XLA_FLAGS": ""},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 4
    assert (tmp_path / "run" / "report.html").exists()
    found = summary["tasks"]["questions.colour"]
    assert list(found) == ["0", "4"]
    for shots in found:
        home = tmp_path / "run" / "evaluation" / "step_4"
        path = home / f"questions.colour-{shots}shot.jsonl"
        assert len(path.read_text().splitlines()) == found[shots]["examples"] == 5

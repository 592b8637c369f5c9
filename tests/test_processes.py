"""Sums over two real processes, each with 4 virtual devices."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from mmjax import config, processes, sharding

PROGRAM = pathlib.Path(__file__).parent / "two_counts.py"


@pytest.fixture(scope="module")
def outcomes():
    """What each of the two processes printed."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    own = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "PYTHONPATH": str(PROGRAM.parent.parent),
    }
    running = [
        subprocess.Popen(
            [sys.executable, PROGRAM, str(process), "2", port],
            env=os.environ | own,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for process in range(2)
    ]  # fmt: skip
    output = [process.communicate(timeout=120) for process in running]
    for process, (_, errors) in zip(running, output, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(text.splitlines()[-1]) for text, _ in output]


def test_processes_sum_their_counts_and_count_each_row_once(outcomes):
    one, two = outcomes
    assert one["sums"] == two["sums"] == [[[2, 4], [1, 10]], [[2], [2], [2]]]
    # Rows lie apart on (8, 1, 1) and (2, 2, 2); both processes hold all of them where
    # the tensor axis spans the processes.
    assert one["counts"] == [True] * 4
    assert two["counts"] == [True, True, False, True]


def test_what_the_first_process_gives_is_what_all_have(outcomes):
    assert [told["first"] for told in outcomes] == [True, False]
    for told in outcomes:
        assert told["as_first"] == [[True, False, True], [7], []]


def test_a_wish_of_one_process_is_known_to_all_a_step_after_they_were_asked(outcomes):
    for told in outcomes:
        assert told["answers"] == [False, False, False, False, True, False]


def test_all_processes_stop_after_the_same_step(outcomes):
    """A signal to one of them after step 4; they agree after step 6."""
    one, two = outcomes
    assert one["stopped"] == [6, "another process stops"]
    assert two["stopped"] == [6, "SIGTERM"]


def test_one_process_has_its_own_counts():
    table = np.arange(6).reshape(3, 2)
    assert [row.tolist() for row in processes.sums(table)] == table.tolist()
    assert processes.counts(sharding.make_mesh(config.Mesh(2, 2, 2)), 4, 4)

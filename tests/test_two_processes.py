import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import synthetic

PROGRAM = pathlib.Path(__file__).parent / "two_processes.py"


def start(process, port, folder, shape):
    """One of two processes, with 4 virtual devices."""
    devices = "--xla_force_host_platform_device_count=4"
    return subprocess.Popen(
        [
            sys.executable,
            PROGRAM,
            str(process),
            "2",
            str(port),
            str(folder),
            ",".join(map(str, shape)),
        ],
        env=os.environ
        | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": devices,
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcomes(folder, shape):
    """What each of the two processes printed last."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    running = [start(process, port, folder, shape) for process in range(2)]
    try:
        output = [process.communicate(timeout=600) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, output, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(text.splitlines()[-1]) for text, _ in output]


@pytest.mark.parametrize(
    ("shape", "shares"),
    [
        ((2, 2, 2), ([[0, 2], [0, 2], [0, 8]], [[2, 4], [0, 2], [0, 8]])),
        pytest.param(
            (1, 2, 4), ([[0, 4], [0, 1], [0, 4]], [[0, 4], [1, 2], [4, 8]]),
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_two_processes_give_the_curve_of_one(tmp_path, shape, shares):
    """4 devices each against 8 of one; both restore a checkpoint half way."""
    first, second = outcomes(tmp_path, shape)
    with synthetic.quick_compilation():
        run = synthetic.run(synthetic.EIGHT)
        _, history = run.train(run.state(), 0, 4)
    assert first["losses"] == second["losses"]  # bit for bit: they are replicated
    np.testing.assert_allclose(first["losses"], synthetic.losses(history), rtol=1e-5)
    norms = [metrics["grad_norm"] for metrics in history]
    np.testing.assert_allclose(first["norms"], norms, rtol=1e-4)
    # Each holds its own half of the rows and images: nothing is made twice.
    assert (first["share"], second["share"]) == shares

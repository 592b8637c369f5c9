"""The table of connectors is made of real runs, and no finished one is made again."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

CONFIG = """
import tiny_run

def get_config():
    config = tiny_run.make_config({root!r})
    config.mesh.fsdp = 1
    return config
"""


@pytest.mark.slow
def test_each_kind_is_trained_once_and_what_cannot_be_is_left_out(tmp_path):
    tests = pathlib.Path(__file__).parent.parent
    config, out = tmp_path / "tiny.py", tmp_path / "table.md"
    config.write_text(CONFIG.format(root=str(tmp_path / "world")))

    def run() -> str:
        command = [
            sys.executable, "-m", "benchmarks.connectors", f"--config={config}",
            "--kinds", "linear", "pixel_shuffle", "perceiver", "--tokens=3",
            "--steps=2", f"--workdir={tmp_path / 'runs'}", f"--out={out}",
        ]  # fmt: skip
        made = subprocess.run(
            command, cwd=tests.parent, env=environment(tests), text=True, check=True,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        return made.stdout

    first = run()
    assert "connector.tokens=3: linear makes 4" in first
    assert "connector.tokens=3: pixel_shuffle makes 1 or 4" in first
    rows = [line for line in out.read_text().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == ["perceiver"]
    folder = tmp_path / "runs" / "perceiver-3tokens-2steps"
    summary = json.loads((folder / "summary.json").read_text())
    assert f"{summary['accuracy']['colour']:.1%}" in rows[0]
    written = (folder / "log.txt").read_text()
    assert rows[0] in run()
    assert (folder / "log.txt").read_text() == written


def environment(tests: pathlib.Path) -> dict[str, str]:
    """This process's, with the tests' modules for the config, on one device."""
    paths = [str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "",
    }

"""Programs run as a user runs them: without the devices that tests make up."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent


def environment() -> dict[str, str]:
    """This one, without our devices."""
    return {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}


def run(*arguments) -> str:
    """Output of `python -m ...`, which must succeed, from the repository's root."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout

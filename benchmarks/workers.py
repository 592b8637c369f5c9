"""The sides of a benchmark: child processes that do what they are told, in turn."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

ANSWER = "@answer "  # what a worker prints before an answer, among other output


class Worker(NamedTuple):
    """A child process that answers commands."""

    name: str
    process: subprocess.Popen

    def ask(self, command: str) -> Any:
        """Sends a line, returns the answer; RuntimeError where the child died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died, which the end of its output tells
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
        raise RuntimeError(f"{self.name}: ended with {self.process.wait()}, see above")

    def end(self) -> None:
        """Has the child end, and waits for it."""
        self.process.communicate()


def start(
    name: str, module: str, arguments: Sequence[str], env: Mapping[str, str]
) -> Worker:
    """Starts `python -m module --worker=name`, with more variables in its environment.

    The module then calls `serve`.
    """
    command = [sys.executable, "-m", module, f"--worker={name}", *arguments]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **env}
    )
    return Worker(name, process)


def serve(commands: Mapping[str, Callable[[], Any]]) -> None:
    """Answers the parent's commands until it closes the pipe."""
    for line in sys.stdin:
        print(ANSWER + json.dumps(commands[line.strip()]()), flush=True)


def timed(run: Callable[[], Any]) -> float:
    """Seconds that `run` takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began

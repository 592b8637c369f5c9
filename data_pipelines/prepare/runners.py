"""What runs the stages on Apache Beam: one of its runners, checked before it starts."""

import contextlib
import importlib
import io
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam
from apache_beam.options import pipeline_options
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.transforms import environments

# What --runner may be, and how Beam calls it.
RUNNERS = {
    "DirectRunner": "",  # made here: Beam's own would first try to fetch Prism
    "DaskRunner": "apache_beam.runners.dask.dask_runner.DaskRunner",
    "DataflowRunner": "DataflowRunner",
    "FlinkRunner": "FlinkRunner",
    "SparkRunner": "SparkRunner",
    "PortableRunner": "PortableRunner",
}
# The extra of Beam that a runner needs, and modules that only it brings.
_NEEDS = {
    "DaskRunner": ("dask", ("distributed", "apache_beam.runners.dask.dask_runner")),
    "DataflowRunner": ("gcp", ("apache_beam.runners.dataflow.internal.apiclient",)),
}


class Engine(NamedTuple):
    """What runs the stages. Every worker reaches all files under the same paths."""

    runner: str = "DirectRunner"  # a key of RUNNERS
    workers: int = 1  # processes of the DirectRunner
    flags: Sequence[str] = ()  # Beam's own, for runners on clusters


def check(engine: Engine) -> None:
    """Raises ValueError for a runner that isn't known, or isn't installed."""
    if engine.runner not in RUNNERS:
        rule = f"must be one of {', '.join(RUNNERS)}"
        raise ValueError(f"--runner={engine.runner}: {rule}")
    _require_installed(engine.runner)
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            options = pipeline_options.PipelineOptions(list(engine.flags))
            known = options.get_all_options(drop_default=True)
    except SystemExit as error:  # argparse's way to say that a value is wrong
        reason = told.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        raise ValueError(f"--beam: {reason}") from error
    every = options.get_all_options(drop_default=True, retain_unknown_options=True)
    if every.keys() - known.keys():
        names = ", ".join(sorted(every.keys() - known.keys()))
        raise ValueError(f"--beam: Beam doesn't know {names}")


def _require_installed(name: str) -> None:
    """Imports what the runner needs, whose flags Beam knows only then."""
    for module in _NEEDS.get(name, ("", ()))[1]:
        try:
            importlib.import_module(module)
        except ImportError as error:
            package = f"apache-beam[{_NEEDS[name][0]}]"
            rule = f"needs more of Beam: pip install '{package}'"
            raise ValueError(f"--runner={name}: {rule}") from error


@contextlib.contextmanager
def pipeline(engine: Engine) -> Iterator[apache_beam.Pipeline]:
    """A pipeline that runs to its end when it is left."""
    options = pipeline_options.PipelineOptions(
        list(engine.flags),
        direct_num_workers=engine.workers,
        default_sdk_harness_log_level="ERROR",
    )
    runner: Any = RUNNERS[engine.runner] or _direct(engine.workers)
    made = apache_beam.Pipeline(runner=runner, options=options)
    try:
        with made:
            yield made
    finally:
        # Dask's, which would keep its workers for as long as this program runs.
        client = getattr(getattr(made, "result", None), "client", None)
        if client is not None:
            client.close()


def _direct(workers: int) -> fn_runner.FnApiRunner:
    """The runner of one machine: in this process, or in others of its own."""
    if workers <= 1:
        return fn_runner.FnApiRunner()
    # As `multi_processing` would start them, but once started they are silent: what
    # fails in them is told by this process.
    program = (
        "import logging, os, sys; logging.disable(logging.ERROR); "
        "from apache_beam.runners.worker import sdk_worker_main; "
        "sys.stderr = open(os.devnull, 'w'); sdk_worker_main.main([])"
    )
    command = shlex.join([sys.executable, "-c", program])
    environment: Any = environments.SubprocessSDKEnvironment
    made = environment.from_command_string(command)
    return fn_runner.FnApiRunner(default_environment=made)

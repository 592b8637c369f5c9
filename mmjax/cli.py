"""The command line of every program: flags, config overrides, and one-line errors."""

import os
import pathlib
import re
import sys
import traceback
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import absl.logging
import jax
from absl import app, flags
from ml_collections import config_flags

from mmjax import profiling, typecheck, validation
from mmjax.config import Config

USER_ERROR = 2  # exit status where the user can put things right
A, B = TypeVar("A"), TypeVar("B")

flags.disclaim_key_flags()  # --help of a program lists them as its own


class Launch(NamedTuple):
    """What the command line says."""

    config: Config
    workdir: pathlib.Path
    dry_run: bool
    coordinator: str = ""  # host:port of process 0, "auto", or "" for one process
    processes: int = 1
    process_id: int = 0
    profile: range = profiling.NONE  # steps to trace


def define(flag_values: flags.FlagValues, argv: list[str] | None = None) -> None:
    """Defines the flags; overrides of config fields are looked up in `argv`."""
    config_flags.DEFINE_config_file(
        "config",
        help_string="Python file with get_config(); --config.FIELD=VALUE overrides.",
        flag_values=flag_values,
        sys_argv=argv,
    )
    flags.DEFINE_string(
        "workdir",
        "",
        "Folder of the run: checkpoints, logs, report. Default: runs/NAME of the "
        "config file.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "dry_run",
        False,
        "Print what the run would be, and exit.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "profile_steps",
        "",
        "START:STOP, as in 100:105: a trace of the five steps after the first 100, in "
        "the workdir, for XProf and TensorBoard.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "coordinator",
        os.environ.get("JAX_COORDINATOR_ADDRESS", ""),
        "host:port of process 0 where several processes train together, or 'auto' on "
        "Cloud TPU and other clusters that jax knows.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "processes",
        int(os.environ.get("JAX_NUM_PROCESSES", "1")),
        "How many processes train together.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "process_id",
        int(os.environ.get("JAX_PROCESS_ID", "0")),
        "Number of this process, from 0.",
        flag_values=flag_values,
    )


def run(program: Callable[[Launch], None]) -> None:
    """Parses the command line and runs `program` on it.

    An error that the user can put right is told in one line a problem, and the exit
    status is 2; anything else is a bug of ours and keeps its traceback.
    """
    define(flags.FLAGS)

    def parsed(argv: list[str]) -> Launch:
        launch = explained(parse, argv)
        if flags.FLAGS["verbosity"].using_default_value:
            flags.FLAGS.verbosity = absl.logging.WARNING  # libraries tell a lot
        return launch

    def main(launch: Launch) -> None:
        explained(start, launch)
        explained(program, launch)

    app.run(main, flags_parser=parsed)


def explained(function: Callable[[A], B], argument: A) -> B:
    """Calls `function`; turns an error meant for the user into lines and an exit."""
    try:
        return function(argument)
    except KeyboardInterrupt:
        print("mmjax: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not for_the_user(error):
            raise
        for line in str(error).splitlines():
            print(f"mmjax: error: {line}", file=sys.stderr)
        sys.stderr.flush()
        if jax.distributed.is_initialized():
            os._exit(USER_ERROR)  # an orderly exit would wait for the other processes
        sys.exit(USER_ERROR)


def for_the_user(error: Exception) -> bool:
    """Whether an error is a message to the user rather than a bug.

    Our own code raises ValueError for what a user can cause, and for nothing else; a
    ValueError from inside a library is a bug. An OSError that names a file is the
    machine's.
    """
    if isinstance(error, OSError):
        return error.filename is not None
    if not isinstance(error, ValueError):
        return False
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    root = pathlib.Path(__file__).resolve().parent.parent
    return any(
        pathlib.Path(raised_in).resolve().is_relative_to(root / package)
        for package in ("mmjax", "data_pipelines")
    )


def parse(argv: list[str], flag_values: flags.FlagValues = flags.FLAGS) -> Launch:
    """What the command line `argv` (program name first) asks for, config checked.

    Raises ValueError for every mistake in flags, config file and config.
    """
    path = _config_path(argv)
    try:
        rest = flag_values(argv)
    except Exception as error:
        raise ValueError(_explanation(path, error)) from error
    if len(rest) > 1:
        raise ValueError(f"{rest[1]!r}: not a flag (flags begin with --)")
    _check_processes(flag_values)
    config = _checked(path, flag_values.config)
    name = pathlib.Path(path.partition(":")[0]).stem
    return Launch(
        config,
        pathlib.Path(flag_values.workdir or f"runs/{name}").absolute(),
        flag_values.dry_run,
        flag_values.coordinator,
        flag_values.processes,
        flag_values.process_id,
        profiling.steps_of(flag_values.profile_steps, config.steps),
    )


def _check_processes(flag_values: flags.FlagValues) -> None:
    """Raises ValueError for numbers of processes that can't be."""
    processes, process_id = flag_values.processes, flag_values.process_id
    if flag_values.coordinator in ("", "auto"):
        if processes != 1 or process_id != 0:
            raise ValueError(
                f"--processes={processes} --process_id={process_id}: need "
                "--coordinator=HOST:PORT, where process 0 listens"
            )
    elif not 0 <= process_id < processes:
        raise ValueError(
            f"--process_id={process_id}: must be at least 0 and less than "
            f"--processes={processes}"
        )


def _config_path(argv: list[str]) -> str:
    """The file that --config names, "" where help is asked for instead.

    Raises ValueError where it is missing, or an override names no field.
    """
    path = ""
    for place, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if re.fullmatch(r"--?config", name):
            path = value if equals else "".join(argv[place + 1 : place + 2])
        override = re.fullmatch(r"--?(?:no)?(config\..+)", name)
        problem = typecheck.override_problem(override[1]) if override else ""
        if problem:
            raise ValueError(problem)
    if not path:
        if any(argument.startswith(("--help", "-help", "-?")) for argument in argv):
            return ""
        raise ValueError(
            "--config is missing: a config file, as in --config=configs/quickstart.py"
        )
    if not os.path.isfile(path.partition(":")[0]):
        raise ValueError(f"--config={path}: no such file")
    return path


def _explanation(path: str, error: Exception) -> str:
    """One line for an error that came up while flags and config file were read."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    file = path.partition(":")[0]
    if isinstance(cause, SyntaxError) and cause.filename == file:
        return f"{file}, line {cause.lineno}: {cause.msg}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(cause.__traceback__)
        if os.path.abspath(frame.filename) == os.path.abspath(file)
    ]
    if lines:
        return f"{file}, line {lines[-1]}: {type(cause).__name__}: {cause}"
    if isinstance(cause, AttributeError) and "get_config" in str(cause):
        return f"--config={path}: the file has no function get_config()"
    if isinstance(cause, IndexError):
        return f"--config: an override is beyond the end of its tuple ({cause})"
    if isinstance(cause, (KeyError, TypeError)):  # field names are checked already
        return f"--config={path}: get_config() must return a mmjax.config.Config"
    return " ".join(str(error).split())


def _checked(path: str, config: object) -> Config:
    """The config, once its fields have the right types and obey the rules."""
    try:
        vars(config)
        getattr(config, "steps", None)
    except OSError as error:  # ml_collections hands on a file's OSError this way
        raise ValueError(_explanation(path, error)) from error
    except TypeError:
        pass
    if not isinstance(config, Config):
        raise ValueError(
            f"--config={path}: get_config() returned {type(config).__name__}, must "
            "be a mmjax.config.Config"
        )
    typecheck.check(config)
    validation.validate(config)
    return config


def start(launch: Launch) -> None:
    """Joins the other processes of a distributed run, if there are any."""
    if not launch.coordinator or launch.dry_run:
        return
    if launch.coordinator == "auto":
        jax.distributed.initialize()
    else:
        jax.distributed.initialize(
            launch.coordinator, launch.processes, launch.process_id
        )

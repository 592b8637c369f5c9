"""A command's flags and config: parsed, checked, and explained in one line."""

import os
import re
from collections.abc import Callable, Sequence

from absl import flags
from absl.flags import FlagValues
from ml_collections import config_flags

from mmjax import typecheck, validation
from mmjax.config import Config


def parse(
    define: Callable[[FlagValues], None], with_config: bool, arguments: Sequence[str]
) -> FlagValues:
    """The flags of a command, --help and maybe --config among them.

    `arguments` are what follows the command. Raises ValueError for every mistake in
    flags and config file.
    """
    values, argv = FlagValues(), ["inspect", *arguments]
    flags.DEFINE_bool("help", False, "Show this and exit.", flag_values=values)
    define(values)
    if with_config:
        _check_overrides(arguments)
        config_flags.DEFINE_config_file(
            "config",
            help_string="File with get_config(); --config.FIELD=VALUE overrides.",
            flag_values=values,
            sys_argv=argv,
        )
    try:
        rest = values(argv)
    except Exception as error:  # a config file is a program: it raises anything
        words = " ".join(str(error).split())
        kind = (
            ""
            if isinstance(error, flags.Error)
            else f"--config: {type(error).__name__}: "
        )
        raise ValueError(f"{kind}{words}") from error
    if len(rest) > 1:
        raise ValueError(f"{rest[1]!r}: not a flag (flags begin with --)")
    return values


def listed(values: FlagValues) -> str:
    """A line for each flag of a command, without those of config fields."""
    return "\n".join(
        f"  --{flag.name}: {' '.join((flag.help or '').split())}{_default(flag)}"
        for flag in (values[each] for each in sorted(values))
        if "." not in flag.name
    )


def _default(flag: flags.Flag) -> str:
    value = flag.default
    if value in (None, "", False, []):
        return ""
    if isinstance(value, list):
        value = ",".join(map(str, value))
    shown = repr(value) if isinstance(value, str) and not value.strip() else value
    return f" (default: {shown})"


def _check_overrides(arguments: Sequence[str]) -> None:
    """Raises ValueError where an override names no field of a config."""
    for argument in arguments:
        name = argument.partition("=")[0]
        override = re.fullmatch(r"--?(?:no)?(config\..+)", name)
        problem = typecheck.override_problem(override[1]) if override else ""
        if problem:
            raise ValueError(problem)


def config(values: FlagValues) -> Config:
    """The config that --config names, overridden and checked.

    Raises ValueError where there is none, or it breaks a rule.
    """
    found = values.config
    if found is None:
        raise ValueError(
            "--config is missing: a config file, as in --config=configs/quickstart.py"
        )
    try:
        getattr(found, "steps", None)
    except OSError as error:  # ml_collections hands on a missing file this way
        raise ValueError(f"--config: {' '.join(str(error).split())}") from error
    if not isinstance(found, Config):
        raise ValueError(
            f"--config: get_config() returned {type(found).__name__}, must be a "
            "mmjax.config.Config"
        )
    typecheck.check(found)
    validation.validate(found)
    return found


def plan_cache(config: Config) -> str | None:
    """The folder of plans that training uses, where there is one to write to."""
    if config.data.cache:
        return config.data.cache
    root = config.data.root
    return os.path.join(root, ".plans") if os.access(root, os.W_OK) else None

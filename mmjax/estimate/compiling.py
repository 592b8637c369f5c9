"""Has a train step compiled in a process of its own, and finds what it left.

This process never starts jax: the compiler wants an environment that is set before.
"""

import hashlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from typing import Any, NamedTuple

import mmjax
from mmjax import config as config_lib
from mmjax.config import Config
from mmjax.estimate.topologies import Topology

STEP = "jit_train_step"  # what jax calls the module of the train step
PROGRAM, REPORT = "after_codegen", "memory-usage-report"  # files that it dumps
NEEDED = "libtpu"  # the compiler, a package of its own

_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5p-16",  # any will do: topologies are given by name
    "TPU_SKIP_MDS_QUERY": "1",  # no machine's metadata are asked for
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "true",  # no device is taken, so none is locked
}
_REMOVED = ("LIBTPU_INIT_ARGS", "JAX_COORDINATOR_ADDRESS")


class Compiled(NamedTuple):
    """What a process that compiled tells, and the program that it left."""

    result: dict[str, Any]  # of mmjax.estimate.worker
    program: pathlib.Path | None  # scheduled HLO; None where nothing was compiled
    report: str  # of memory use; "" where there is none


def require_compiler() -> None:
    """Raises ValueError where the TPU compiler isn't installed."""
    if importlib.util.find_spec(NEEDED) is None:
        raise ValueError(
            "no TPU compiler here: pip install 'mmjax[estimate]' (or libtpu==0.0.51)"
        )


def for_tpu(
    config: Config,
    topology: Topology,
    capacity: int,
    options: dict[str, str],
    folder: pathlib.Path,
) -> Compiled:
    """The step of a config whose mesh is resolved, compiled for a topology.

    What was asked for before in the same folder is taken from there. A `result` with
    an `error` says what the compiler couldn't do.
    """
    request = _request(config, topology.name, capacity, options, compiles=True)
    result = _ask(request, folder, dumping(folder))
    programs, reports = (
        sorted(folder.glob(f"*{STEP}*{name}.txt")) for name in (PROGRAM, REPORT)
    )
    if "error" not in result and not programs:
        raise RuntimeError(f"{folder}: the compiler left no scheduled program")
    report = reports[-1].read_text() if reports else ""
    return Compiled(result, programs[-1] if programs else None, report)


def for_virtual_devices(
    config: Config, devices: int, capacity: int, folder: pathlib.Path
) -> Compiled:
    """What the model holds on so many devices; nothing is compiled."""
    request = _request(config, "", capacity, {}, compiles=False)
    flags = [f"--xla_force_host_platform_device_count={devices}"]
    return Compiled(_ask(request, folder, flags), None, "")


def _request(
    config: Config,
    topology: str,
    capacity: int,
    options: dict[str, str],
    compiles: bool,
) -> dict[str, Any]:
    return {
        "config": config_lib.to_dict(config),
        "topology": topology,
        "capacity": capacity,
        "options": options,
        "compiles": compiles,
        "code": _code(),
    }


def _code() -> str:
    """A hash of the code that decides what is compiled."""
    root = pathlib.Path(mmjax.__file__).parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.parent.name != "estimate" or path.name == "worker.py":
            found.update(path.read_bytes())
    return found.hexdigest()


def _ask(
    request: dict[str, Any], folder: pathlib.Path, flags: list[str]
) -> dict[str, Any]:
    """The worker's result, a fresh one unless the folder holds that of the request."""
    asked, result = folder / "request.json", folder / "result.json"
    text = json.dumps(request, indent=1, sort_keys=True)
    if result.exists() and asked.exists() and asked.read_text() == text:
        return json.loads(result.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    for old in (result, *folder.glob(f"*{STEP}*.txt")):
        old.unlink(missing_ok=True)
    asked.write_text(text)
    log = folder / "compiler.log"
    with log.open("w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "mmjax.estimate.worker", str(folder)],
            env=environment(flags),
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode or not result.exists():
        last = [line for line in log.read_text(errors="replace").splitlines() if line]
        raise RuntimeError(
            f"the compiler ended with status {done.returncode}: {(last or ['?'])[-1]}"
        )
    _remove_large(folder)
    return json.loads(result.read_text())


def dumping(folder: pathlib.Path) -> list[str]:
    """XLA's flags to write the scheduled train step into a folder."""
    return [
        f"--xla_dump_to={folder}",
        "--xla_dump_hlo_as_text",
        f"--xla_dump_hlo_module_re={STEP}",
    ]


def environment(flags: list[str]) -> dict[str, str]:
    """The environment of a process that compiles, with these flags of XLA."""
    kept = {name: value for name, value in os.environ.items() if name not in _REMOVED}
    return {**kept, **_ENVIRONMENT, "XLA_FLAGS": " ".join(flags)}


def _remove_large(folder: pathlib.Path) -> None:
    """Removes what the compiler dumps besides the program and the report of memory."""
    for path in folder.glob(f"*{STEP}*"):
        if path.is_file() and not any(name in path.name for name in (PROGRAM, REPORT)):
            path.unlink()

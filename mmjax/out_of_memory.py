"""What a run says where memory runs out: what a device holds, and what may help."""

import contextlib
import copy
import math
import os
import pathlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import jax

from mmjax import config as config_lib
from mmjax import (
    hlo,
    inventory,
    metrics,
    optim,
    processes,
    scopes,
    shortage,
    step,
    validation,
)
from mmjax.config import Config
from mmjax.run_setup import Run
from mmjax.shortage import Lack, Piece

PROFILE = "out_of_memory.prof"  # in the workdir: what the devices held
LARGEST = 4  # pieces of memory that are named, of each sort

# Operations whose result is memory of another one, or of the program's arguments.
_PASSED_ON = (
    "bitcast", "call", "conditional", "constant", "get-tuple-element", "parameter",
    "tuple", "while",
)  # fmt: skip


@contextlib.contextmanager
def explained(run: Run, doing: str) -> Iterator[None]:
    """Within it, errors about memory are explained; `doing` says during what."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        explain(error, run, doing)
        raise


def explain(error: Exception, run: Run, doing: str, compiled: Any = None) -> None:
    """Raises ValueError, a line for each thing to know, for an error about memory.

    `compiled` is the train step, where it could be compiled. Does nothing for others.
    """
    if shortage.ran_out(str(error)):
        lines = told(str(error), run, doing, compiled)
        lines += _profile(run.workdir)
        raise ValueError("\n".join(lines)) from error


def told(message: str, run: Run, doing: str, compiled: Any) -> list[str]:
    """The lines about a shortage that an error tells of."""
    known = compiled if isinstance(compiled, jax.stages.Compiled) else None
    lines = [f"out of memory, {doing}: {_lacking(message, run)}", _held(run, known)]
    lines.append(f"largest of the state: {_listed(of_state(run))}")
    written = shortage.named(message) or (of_step(known) if known else [])
    if written:
        lines.append(f"largest that the step writes: {_listed(written)}")
    return [*lines, f"may help: {'; '.join(advice(run))}"]


def _lacking(message: str, run: Run) -> str:
    """What was asked for, and what there is."""
    device = run.mesh.devices.flat[0]
    found = shortage.lack(message) or Lack(math.nan, None, whole=False)
    if math.isnan(found.asked):
        return message.partition("\n")[0]
    asked = metrics.memory(found.asked)
    if found.there is not None:
        there = metrics.memory(found.there)
        if found.whole:
            return f"the step needs {asked}, a device has {there} to give"
        return f"{asked} could not be had, {there} were free"
    whose = "this machine" if device.platform == "cpu" else f"a {device.device_kind}"
    there = _capacity(device)
    has = f", {whose} has {metrics.memory(there)}" if there else ""
    return f"{asked} could not be had{has}"


def _capacity(device: Any) -> int | None:
    """Bytes that a device has, as far as it tells; of CPUs, the machine's."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is None and device.platform == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return limit


def held(run: Run, compiled: jax.stages.Compiled | None) -> dict[str, int]:
    """Bytes of one device by what lies there; activations of a compiled step alone."""
    capacity = run.train.pipeline.capacity
    sizes = inventory.memory(run.model, run.config, run.mesh, capacity)
    analysis = compiled.memory_analysis() if compiled else None
    if analysis is not None:
        temporaries = analysis.temp_size_in_bytes
        sizes["activations"] = max(0, temporaries - sizes["gradients"])
    return sizes


def _held(run: Run, compiled: jax.stages.Compiled | None) -> str:
    sizes = held(run, compiled)
    total = sum(sizes.values())
    shares = [
        f"{name} {metrics.memory(size)} ({size / total:.0%})"
        for name, size in sizes.items()
    ]
    more = "" if "activations" in sizes else "; activations are not known yet"
    return f"one device holds: {', '.join(shares)}{more}"


def of_state(run: Run) -> list[Piece]:
    """The largest parameters with their moments, as one device holds them."""
    state = step.abstract_state(run.model, run.config, run.mesh)
    names, sizes = optim.flatten(state.params), defaultdict(int)
    for path, leaf in optim.flatten(state).items():
        name = next((name for name in names if path.endswith(f"/{name}")), path)
        shape = leaf.sharding.shard_shape(leaf.shape)
        sizes[name] += math.prod(shape) * leaf.dtype.itemsize
    return _first(Piece(size, name) for name, size in sizes.items())


def of_step(compiled: jax.stages.Compiled) -> list[Piece]:
    """The largest arrays that a compiled step writes, by their place in the model."""
    try:
        module = hlo.parse((compiled.as_text() or "").splitlines())
    except Exception:  # not every compiler shows its program: then it isn't told
        return []
    fused = {
        name
        for computation in module.computations.values()
        for instruction in computation.instructions
        if instruction.opcode == "fusion"
        for name in hlo.called(module, instruction)
    }
    found: dict[tuple[str, str], Piece] = {}
    for name, computation in module.computations.items():
        for each in computation.instructions:
            if name in fused or each.opcode in _PASSED_ON or len(each.shapes) != 1:
                continue
            array, scope = each.type.partition("{")[0], _scope(module, each)
            what = f"{array} ({scopes.short(scope)})" if scope else array
            found.setdefault((array, what), Piece(hlo.size(each.shapes), what))
    # Of equal ones those first that have a place, which some library calls lack.
    return _first(sorted(found.values(), key=lambda piece: piece.name.endswith("]")))


def _scope(module: hlo.Module, instruction: hlo.Instruction) -> str:
    """The path of an operation; of a fusion without one, that of its last operation."""
    inside = [
        each
        for name in hlo.called(module, instruction)
        for each in module.computations[name].instructions
    ]
    found = (hlo.scope(each) for each in (instruction, *reversed(inside)))
    return next(filter(None, found), "")


def _first(pieces: Any) -> list[Piece]:
    return sorted(pieces, key=lambda piece: -piece.size)[:LARGEST]


def _listed(pieces: list[Piece]) -> str:
    return ", ".join(f"{metrics.memory(piece.size)} {piece.name}" for piece in pieces)


def advice(run: Run) -> list[str]:
    """Flags that make a device hold less, those first that change no result.

    Each alone, added to the command line, gives a config that obeys the rules.
    """
    config, sizes = run.config, dict(run.mesh.shape)
    groups = config.data.rows_per_batch // config.data.rows_per_pool
    wishes = [
        {"optim.accumulate": n * config.optim.accumulate}
        for n in range(2, groups // config.optim.accumulate + 1)
    ]
    kept = [_first_that_fits(run, wishes)]
    for name in (*config_lib.encoders(config.model), "connector", "decoder"):
        part = getattr(config.model, name)
        less = {"full": [], "attention": ["full"]}.get(
            part.remat, ["attention", "full"]
        )
        wishes = [{f"model.{name}.remat": remat} for remat in less]
        kept.append(_first_that_fits(run, wishes))
    wishes = [
        {"mesh.fsdp": n * sizes["fsdp"], "mesh.data": sizes["data"] // n}
        for n in range(2, sizes["data"] + 1)
        if sizes["data"] % n == 0
    ]
    kept.append(_first_that_fits(run, wishes))
    half = groups // 2 * config.data.rows_per_pool
    kept.append(_first_that_fits(run, [{"data.rows_per_batch": half}] if half else []))
    return [*filter(None, kept), "more devices"]


def _first_that_fits(run: Run, wishes: list[dict[str, Any]]) -> str:
    """The first change of the config that obeys its rules, as flags; "" without one."""
    for wish in wishes:
        changed, words = copy.deepcopy(run.config), []
        for path, value in wish.items():
            words.append(f"--config.{path}={value} (now {_now(run, path)})")
            config_lib.assign(changed, path, value)
        if _obeys(changed, run.mesh.size):
            return " ".join(words)
    return ""


def _now(run: Run, path: str) -> Any:
    """What a field is in this run; axes of the mesh as they were resolved."""
    group, _, field = path.partition(".")
    if group == "mesh":
        return run.mesh.shape[field]
    return config_lib.value(run.config, path)


def _obeys(config: Config, devices: int) -> bool:
    try:
        validation.validate(config)
        validation.resolve_mesh(config, devices)
    except ValueError:
        return False
    return True


def _profile(workdir: pathlib.Path) -> list[str]:
    """Writes what the devices hold, and says where; nothing where they can't tell."""
    if not processes.first():
        return []
    path = workdir / PROFILE
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        jax.profiler.save_device_memory_profile(str(path))
    except (OSError, RuntimeError, NotImplementedError):
        return []
    return [f"what was held: {path}; to look at it: pprof -top {path}"]

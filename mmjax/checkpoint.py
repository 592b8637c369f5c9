"""Checkpoints of a run: written in the background, restored onto any mesh.

A step's folder has three items: `params`, `optimizer` (with the step count), and
`meta`, a JSON object of whatever else resuming needs (config, data position, versions).
It exists under its own name only once all of it is on disk.
"""

import contextlib
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import absl.logging
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from mmjax import config as config_lib
from mmjax import optim
from mmjax.step import State

_WRITING = 4  # largest shards that `save_weights` holds while it writes them


def folder_of(workdir: pathlib.Path) -> pathlib.Path:
    """Where a run has its checkpoints, in folders named by their steps."""
    return workdir / "checkpoints"


class Checkpointer:
    """The checkpoints of one run, in one folder. All processes call it in step."""

    def __init__(self, directory: str, config: config_lib.Checkpoint):
        """Keeps the last `keep_last` and every multiple of `keep_every` steps."""
        keep: list[Any] = [policies.LatestN(config.keep_last)]
        if config.keep_every:
            keep.append(policies.EveryNSteps(config.keep_every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(keep),
            enable_async_checkpointing=config.asynchronous,
            cleanup_tmp_directories=True,  # what a killed run left unfinished
        )
        self._manager = _open(_absolute(directory), options)

    def latest_step(self) -> int | None:
        """The newest complete checkpoint; None where there is none yet.

        Waits for one that is being written.
        """
        self.wait()
        return self._manager.latest_step()

    def save(self, step: int, state: State, meta: dict[str, Any]) -> None:
        """Saves the state, which may be donated as soon as this returns.

        `meta` must be JSON. A step that is saved already is left as it is.
        """
        self._manager.save(
            step,
            args=ocp.args.Composite(
                meta=ocp.args.JsonSave(meta),
                **{
                    name: ocp.args.StandardSave(tree)  # pyright: ignore[reportCallIssue]
                    for name, tree in _items(state).items()
                },
            ),
        )

    def restore(self, abstract_state: State) -> tuple[State, dict[str, Any]] | None:
        """(state, meta) of the newest complete checkpoint; None where there is none.

        `abstract_state` gives shapes and shardings (`step.abstract_state`), which need
        not be those of the mesh that saved it. Raises ValueError where the checkpoint
        is damaged or belongs to another model or optimizer.
        """
        step = self.latest_step()
        if step is None:
            return None
        items = _restore(self._manager, step, _items(abstract_state), with_meta=True)
        optimizer = items["optimizer"]
        state = State(optimizer["step"], items["params"], optimizer["opt_state"])
        return state, items["meta"]

    def latest_meta(self) -> dict[str, Any] | None:
        """The `meta` of the newest complete checkpoint alone; None where there is none.

        Raises ValueError where it is damaged.
        """
        step = self.latest_step()
        if step is None:
            return None
        args = ocp.args.Composite(meta=ocp.args.JsonRestore())
        try:
            return self._manager.restore(step, args=args)["meta"]
        except Exception as error:
            where = f"checkpoint {self._manager.directory}/{step}"
            raise ValueError(_damaged(self._manager, step, where, error)) from error

    def wait(self) -> None:
        """Returns when all that was saved is on disk; raises what writing it raised."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then lets go of threads and files."""
        self._manager.close()


class Weights(NamedTuple):
    """What one checkpoint holds of a model: shapes and dtypes by path, and its meta."""

    stored: dict[str, Any]
    meta: dict[str, Any]


def save_weights(path: str, params: optim.Params, meta: dict[str, Any]) -> None:
    """Writes a checkpoint of parameters alone, of a whole model or of parts of one.

    It is there, as step 0 in the folder `path`, once all of it is on disk.
    """
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
    # What is being written exists twice: it is bounded by a few of the largest shards.
    largest = max(_shard_bytes(leaf) for leaf in optim.flatten(params).values())
    writing = ocp.StandardCheckpointHandler(save_concurrent_gb=_WRITING * largest / 1e9)  # pyright: ignore[reportArgumentType]
    with _open(_absolute(path), options, writing) as manager:
        manager.save(
            0,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params),  # pyright: ignore[reportCallIssue]
                meta=ocp.args.JsonSave(meta),
            ),
        )


def look(path: str) -> Weights:
    """What the checkpoint that `load_weights` reads holds; ValueError as there."""
    with _reader(path) as (manager, step):
        where = f"checkpoint {manager.directory}/{step}"
        args = ocp.args.Composite(meta=ocp.args.JsonRestore())
        try:
            stored = _stored(manager.item_metadata(step)["params"], "params")
            return Weights(stored, manager.restore(step, args=args)["meta"])
        except Exception as error:
            raise ValueError(_damaged(manager, step, where, error)) from error


def load_weights(path: str, abstract_params: optim.Params) -> optim.Params:
    """The parameters alone, with dtypes and shardings of `abstract_params`.

    `path` is the folder of a run, of its checkpoints (then the newest counts) or of one
    checkpoint. One of parts of a model (`mmjax.convert import`) gives those parts, the
    others are left out. Raises ValueError where there is none, it is damaged or it
    belongs to another model.
    """
    with _reader(path) as (manager, step):
        try:
            metadata = manager.item_metadata(step)["params"]
            held = {name.partition("/")[0] for name in _stored(metadata, "params")}
        except Exception as error:
            where = f"checkpoint {manager.directory}/{step}"
            raise ValueError(_damaged(manager, step, where, error)) from error
        wanted = {part: t for part, t in abstract_params.items() if part in held}
        return _restore(manager, step, {"params": wanted})["params"]


def load_parts(
    path: str, abstract_params: optim.Params, parts: Sequence[str]
) -> optim.Params:
    """Some parts alone (`vit`, say), whatever else the checkpoint holds.

    Raises ValueError as `load_weights` does, and for a part that one of both lacks.
    """
    with _reader(path, ocp.PyTreeCheckpointHandler()) as (manager, step):
        where = f"checkpoint {manager.directory}/{step}"
        try:
            stored = _stored(manager.item_metadata(step)["params"], "params")
        except Exception as error:
            raise ValueError(_damaged(manager, step, where, error)) from error
        held = {name.partition("/")[0] for name in stored}
        for name, there in ((where, held), ("the model", abstract_params)):
            for part in sorted(set(parts) - set(there)):
                raise ValueError(
                    f"init_parts: {part!r} is no part of {name}, which has "
                    f"{', '.join(sorted(there))}"
                )
        wanted = {part: abstract_params[part] for part in parts}
        ours = {n: leaf for n, leaf in stored.items() if n.partition("/")[0] in wanted}
        problem = _difference("params", optim.flatten(wanted), ours)
        if problem:
            raise ValueError(f"{where} belongs to another model: {problem}")
        restored = ocp.args.PyTreeRestore(
            wanted,  # pyright: ignore[reportCallIssue]
            restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),  # pyright: ignore[reportCallIssue]
            partial_restore=True,  # pyright: ignore[reportCallIssue]
        )
        try:
            return manager.restore(step, args=ocp.args.Composite(params=restored))[
                "params"
            ]
        except Exception as error:
            raise ValueError(_damaged(manager, step, where, error)) from error


@contextlib.contextmanager
def _reader(
    path: str, params: ocp.CheckpointHandler | None = None
) -> Iterator[tuple[ocp.CheckpointManager, int]]:
    """The manager and the step of a run, of its checkpoints or of one of them."""
    folder = _absolute(path)
    inner = folder_of(folder)
    folder = inner if inner.is_dir() else folder
    step = None
    if (folder / "params").is_dir() and folder.name.isdigit():
        folder, step = folder.parent, int(folder.name)
    if not folder.is_dir():
        raise ValueError(f"{path}: no such folder of checkpoints")
    with _without_warnings():  # orbax tells each option that read_only implies
        options = ocp.CheckpointManagerOptions(read_only=True)
        opened = _open(folder, options, params)
    with opened as manager:
        step = manager.latest_step() if step is None else step
        if step is None:
            raise ValueError(f"{path}: holds no complete checkpoint")
        yield manager, step


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Within it, libraries that log by absl tell errors alone."""
    before = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        yield
    finally:
        absl.logging.set_verbosity(before)


def _shard_bytes(leaf: Any) -> int:
    """Bytes of the largest part of an array that is written at once."""
    shape = leaf.shape
    if isinstance(leaf, jax.Array):
        shape = leaf.sharding.shard_shape(shape)
    return math.prod(shape) * leaf.dtype.itemsize


def _open(
    folder: pathlib.Path,
    options: ocp.CheckpointManagerOptions,
    params: ocp.CheckpointHandler | None = None,
) -> ocp.CheckpointManager:
    handlers = {
        "params": params or ocp.StandardCheckpointHandler(),
        "optimizer": ocp.StandardCheckpointHandler(),
        "meta": ocp.JsonCheckpointHandler(),
    }
    return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)


def _absolute(path: str) -> pathlib.Path:
    return pathlib.Path(path).expanduser().resolve()


def _items(state: State) -> dict[str, Any]:
    """What is stored under which name: weights apart, since they are read alone."""
    return {
        "params": state.params,
        "optimizer": {"step": state.step, "opt_state": state.opt_state},
    }


def _restore(
    manager: ocp.CheckpointManager,
    step: int,
    abstract: Mapping[str, Any],
    with_meta: bool = False,
) -> Mapping[str, Any]:
    """The named items of a step, checked against the shapes in `abstract`."""
    where = f"checkpoint {manager.directory}/{step}"
    args: dict[str, Any] = {
        name: ocp.args.StandardRestore(tree)  # pyright: ignore[reportCallIssue]
        for name, tree in abstract.items()
    }
    if with_meta:
        args["meta"] = ocp.args.JsonRestore()
    try:
        metadata = manager.item_metadata(step)
        found = {name: _stored(metadata[name], name) for name in abstract}
    except Exception as error:
        raise ValueError(_damaged(manager, step, where, error)) from error
    for name, tree in abstract.items():
        problem = _difference(name, optim.flatten(tree), found[name])
        if problem:
            raise ValueError(f"{where} belongs to another model: {problem}")
    try:
        return manager.restore(step, args=ocp.args.Composite(**args))
    except Exception as error:
        raise ValueError(_damaged(manager, step, where, error)) from error


def _stored(metadata: Any, item: str) -> dict[str, Any]:
    """What is on disk by path, as leaves that have a shape."""
    if metadata is None:
        raise FileNotFoundError(f"no metadata of {item}")
    return optim.flatten(metadata.tree)


def _damaged(manager, step: int, where: str, error: Exception) -> str:
    """The message for a checkpoint that can't be read, and what to do."""
    older = sorted(s for s in manager.all_steps() if s < step)
    advice = (
        f"remove that folder to go on from step {older[-1]}"
        if older
        else "there is no older one"
    )
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return f"{where} is damaged ({reason}); {advice}"


def _difference(item: str, wanted: dict[str, Any], found: dict[str, Any]) -> str:
    """The first paths in which two flattened trees differ; empty where none does."""
    shapes = {path: tuple(leaf.shape) for path, leaf in wanted.items()}
    stored = {path: tuple(leaf.shape) for path, leaf in found.items()}
    both = shapes.keys() & stored.keys()
    lists = {
        "missing": [f"{p} {shapes[p]}" for p in sorted(shapes.keys() - stored.keys())],
        "unexpected": [
            f"{p} {stored[p]}" for p in sorted(stored.keys() - shapes.keys())
        ],
        "of another shape": [
            f"{p} {stored[p]} instead of {shapes[p]}"
            for p in sorted(both)
            if shapes[p] != stored[p]
        ],
    }
    return "; ".join(
        f"{len(paths)} {item} {kind}, first {', '.join(paths[:3])}"
        for kind, paths in lists.items()
        if paths
    )

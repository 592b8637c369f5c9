"""Where a run starts: fresh, from another run's weights, or at its own checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from mmjax import checkpoint, run_setup, step
from mmjax.checkpoint import Checkpointer
from mmjax.config import Mixture
from mmjax.run_setup import Run
from mmjax.step import State


class Start(NamedTuple):
    """The state to go on from, and what the checkpoint remembers beside it."""

    state: State
    step: int  # steps done
    journal: dict[str, Any]  # `Journal.state()`
    seconds: float  # that the run has taken so far


def start(run: Run, checkpoints: Checkpointer, say: Callable[[str], None]) -> Start:
    """Restores the newest checkpoint, else loads `init_from`, else makes parameters.

    Raises ValueError where the checkpoint belongs to other data or another model.
    """
    config = run.config
    shapes = step.abstract_state(run.model, config, run.mesh)
    found = checkpoints.restore(shapes)
    if found is not None:
        state, meta = found
        done = int(state.step)
        _require_same_data(run, done, meta["data"])
        say(f"resumed at step {done} of {config.steps}")
        return Start(state, done, meta["journal"], meta["seconds"])
    key = jax.random.key(config.seed)
    state = step.init_state(run.model, config, run.mesh, key)
    if config.init_from:
        weights = checkpoint.load_weights(config.init_from, shapes.params)
        state = state._replace(params=weights)
        say(f"weights from {config.init_from}")
    return Start(state, 0, {}, 0.0)


def known_plan(checkpoints: Checkpointer) -> Mapping[str, Any] | None:
    """What the newest checkpoint knows of the data's plan; None without one."""
    found = checkpoints.latest_meta()
    return None if found is None else found["data"]["known"]


def meta(run: Run, done: int, journal: dict[str, Any], seconds: float) -> dict:
    """What a checkpoint after `done` steps holds beside the state; JSON."""
    plan = run.train.pipeline.plan
    return {
        "config": run_setup.resolved(run),
        **run_setup.provenance(),
        "data": {
            "next_row": done * run.config.data.rows_per_batch,
            "rows_per_batch": run.config.data.rows_per_batch,
            "schedule": _schedule(run.config.mixture),
            "digest": plan.digest,
            "sources": _digests(run),
            "known": plan.known(done),
        },
        "journal": journal,
        "seconds": seconds,
    }


def _digests(run: Run) -> dict[str, str]:
    """What the rows of each source in use follow from, by name."""
    plans = run.train.pipeline.plan.sources
    return {plan.name: plan.digest for plan in plans if plan is not None}


def _schedule(mixture: Mixture) -> list[list[Any]]:
    """[first step, weights] of each part of the run."""
    changes = [[change.step, list(change.weights)] for change in mixture.schedule]
    return [[0, list(mixture.weights)], *changes]


def _require_same_data(run: Run, done: int, saved: dict[str, Any]) -> None:
    """Raises ValueError where the batches before step `done` would be others now."""
    at = f"the checkpoint at step {done} in {run.workdir}"
    digests = _digests(run)
    changed = [name for name, d in saved["sources"].items() if digests.get(name) != d]
    if changed:
        raise ValueError(
            f"data of source {', '.join(changed)}: shards, tokenizer, seed, share of "
            f"synthetic captions or layout of rows changed since {at}; put them back, "
            "or start in another --workdir"
        )
    past, now = (
        [part for part in parts if part[0] < max(done, 1)]
        for parts in (saved["schedule"], _schedule(run.config.mixture))
    )
    if past != now:
        raise ValueError(
            f"mixture: weights before step {done} are {_shown(now)}, {at} was "
            f"trained with {_shown(past)}; add changes to mixture.schedule, from that "
            "step on"
        )
    if saved["digest"] != run.train.pipeline.plan.digest:
        raise ValueError(
            "data: the layout of batches (rows_per_batch, rows_per_pool, "
            f"block_batches) changed since {at}; put it back, or start in another "
            "--workdir"
        )


def _shown(parts: Sequence[Sequence[Any]]) -> str:
    return ", ".join(f"{tuple(weights)} from step {step}" for step, weights in parts)

"""Where a run starts: fresh, from another run's weights, or at its own checkpoint."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from data_pipelines import pools
from mmjax import checkpoint, live_mixture, mixture_files, run_setup, schedule, step
from mmjax.checkpoint import Checkpointer
from mmjax.config import Config, Mixture, WeightChange
from mmjax.run_setup import Run
from mmjax.schedule import Change, Part
from mmjax.step import State

FRESH = {"step": 0, "epochs": {}, "mixture": None}  # what step 0 knows of the plan


class Past(NamedTuple):
    """What checkpoints and workdir know of the run so far."""

    known: Mapping[str, Any] | None  # of the data's plan, to open the data with
    changes: list[Change]  # of the mixture, taken up while it ran
    handled: set[str]  # requests for such changes


class Start(NamedTuple):
    """The state to go on from, and what the checkpoint remembers beside it."""

    state: State
    step: int  # steps done
    journal: dict[str, Any]  # `Journal.state()`
    seconds: float  # that the run has taken so far


def start(
    run: Run,
    checkpoints: Checkpointer,
    changes: Sequence[Change],
    say: Callable[[str], None],
) -> Start:
    """Restores the newest checkpoint, else loads `init_from`, else makes parameters.

    Raises ValueError where the checkpoint belongs to other data or another model.
    """
    config = run.config
    shapes = step.abstract_state(run.model, config, run.mesh)
    found = checkpoints.restore(shapes)
    if found is not None:
        state, meta = found
        done = int(state.step)
        _require_same_data(run, done, meta["data"], changes)
        say(f"resumed at step {done} of {config.steps}")
        return Start(state, done, meta["journal"], meta["seconds"])
    key = jax.random.key(config.seed)
    state = step.init_state(run.model, config, run.mesh, key)
    if config.init_from:
        weights = (
            checkpoint.load_parts(config.init_from, shapes.params, config.init_parts)
            if config.init_parts
            else checkpoint.load_weights(config.init_from, shapes.params)
        )
        new = [part for part in state.params if part not in weights]
        state = state._replace(params={**state.params, **weights})
        fresh = f", {' and '.join(new)} new" if new else ""
        say(f"weights from {config.init_from}{fresh}")
    return Start(state, 0, {}, 0.0)


def past(checkpoints: Checkpointer, workdir: pathlib.Path) -> Past:
    """What is known of a run before it goes on; the same on all processes.

    Changes of its mixture after the newest checkpoint are those on record in the
    workdir, with the capacity of the plan that came of them.
    """
    found = checkpoints.latest_meta()
    data: dict[str, Any] = {} if found is None else found["data"]
    lines = mixture_files.lines(workdir / mixture_files.CHANGES)
    records = mixture_files.outcomes(live_mixture.agreed(lines))
    saved = [Change(name, step, tuple(w)) for name, step, w in data.get("changes", [])]
    later = [c for c in mixture_files.taken(records) if c not in saved]
    known = data.get("known")
    if later:
        last = [r for r in records if r["outcome"] == "taken"][-1]
        known = (known or FRESH) | {key: last[key] for key in ("planned", "capacity")}
    handled = {r["request"] for r in records} | {c.request for c in saved}
    return Past(known, [*saved, *later], handled)


def meta(
    run: Run,
    changes: Sequence[Change],
    done: int,
    journal: dict[str, Any],
    seconds: float,
) -> dict:
    """What a checkpoint after `done` steps holds beside the state; JSON."""
    plan = run.train.pipeline.plan
    return {
        "config": run_setup.resolved(run),
        **run_setup.provenance(),
        "data": {
            "next_row": done * run.config.data.rows_per_batch,
            "rows_per_batch": run.config.data.rows_per_batch,
            "schedule": schedule.parts(run.config.mixture),
            "changes": list(changes),
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
    used = pools.used_sources(run.config)
    return {p.name: p.digest for p, use in zip(plans, used) if p is not None and use}


def _require_same_data(
    run: Run, done: int, saved: dict[str, Any], changes: Sequence[Change]
) -> None:
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
    trained = [(start, tuple(weights)) for start, weights in saved["schedule"]]
    _require_same_mixture(run.config, trained, changes, done, at)
    if saved["digest"] != run.train.pipeline.plan.digest:
        raise ValueError(
            "data: the layout of batches (rows_per_batch, rows_per_pool, "
            f"block_batches) changed since {at}; put it back, or start in another "
            "--workdir"
        )


def _require_same_mixture(
    config: Config,
    trained: Sequence[Part],
    changes: Sequence[Change],
    done: int,
    at: str,
) -> None:
    """Raises ValueError where other weights would alter batches before step `done`.

    `trained` is the checkpoint's schedule; `changes` taken up since are as they were.
    """
    planned = schedule.parts(config.mixture)
    past, now = (
        [part for part in parts if part[0] < max(done, 1)]
        for parts in (trained, planned)
    )
    (_, first), *rest = trained
    later = tuple(WeightChange(step, weights) for step, weights in rest)
    mixture = Mixture(first, later, config.mixture.unit)
    before = dataclasses.replace(config, mixture=mixture)
    free = pools.changeable_from(before, done)
    if past != now:
        raise ValueError(
            f"mixture: weights before step {done} are {_shown(now)}, {at} was "
            f"trained with {_shown(past)}; add changes to mixture.schedule, from step "
            f"{free} on"
        )
    expected = schedule.parts(schedule.merged(before, changes).mixture)
    changed = schedule.first_difference(expected, planned)
    if changed is not None and changed < free:
        raise ValueError(
            f"mixture.schedule: a change at step {changed} alters batches before step "
            f"{done}, with which {at} was trained; it is possible from step {free} on"
        )


def _shown(parts: Sequence[Part]) -> str:
    return ", ".join(f"{weights} from step {step}" for step, weights in parts)

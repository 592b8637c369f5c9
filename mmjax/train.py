"""Trains a model: `python -m mmjax.train --config=configs/quickstart.py`.

Starting the same command again goes on from the last checkpoint, with the very losses
of a run that was never interrupted.
"""

import collections
import contextlib
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from mmjax import (
    checkpoint,
    cli,
    dry_run,
    metrics,
    out_of_memory,
    processes,
    profiling,
    resuming,
    run_eval,
    run_setup,
    schedule,
    step,
    validation,
)
from mmjax.checkpoint import Checkpointer
from mmjax.config import Config
from mmjax.feed import Feed
from mmjax.journal import Journal
from mmjax.live_mixture import LiveMixture
from mmjax.metrics import Screen
from mmjax.profiling import Trace
from mmjax.resuming import Start
from mmjax.run_eval import Evaluation
from mmjax.run_setup import Run
from mmjax.step import State
from mmjax.stopping import Stop

AHEAD = 2  # steps that the devices have before the host waits for the first of them


class Parts(NamedTuple):
    """What the loop works with; another mixture makes another `run` of it."""

    run: Run
    mixture: LiveMixture
    checkpoints: Checkpointer
    journal: Journal
    evaluation: Evaluation
    stop: Stop
    trace: Trace
    # Seconds that the run has taken, earlier starts included.
    clock: Callable[[], float]


def main(launch: cli.Launch) -> None:
    if launch.dry_run:
        dry_run.show(launch.config)
    else:
        train(launch.config, launch.workdir, launch.profile)


def train(
    config: Config, workdir: pathlib.Path, profile: range = profiling.NONE
) -> None:
    """Runs or resumes the training of a config to its end, evaluation and report.

    Steps in `profile`, by how many are done before them, are traced. Raises ValueError
    for what is wrong with config, data or checkpoints.
    """
    began = time.monotonic()
    stop = Stop(config.max_hours, config.log.every)
    with contextlib.ExitStack() as stack:
        screen = _screen(stack)
        checkpoints = Checkpointer(
            str(checkpoint.folder_of(workdir)), config.checkpoint
        )
        stack.callback(checkpoints.close)
        past = resuming.past(checkpoints, workdir)
        config = schedule.merged(config, past.changes)
        validation.validate(config)
        run = run_setup.set_up(config, workdir, past.known)
        with out_of_memory.explained(run, "making or restoring the state"):
            start = resuming.start(run, checkpoints, past.changes, screen.say)
        mixture = LiveMixture(workdir, past.changes, past.handled, screen.say)
        if start.step < config.steps:
            run = mixture.take_up(run, mixture.waiting(), start.step, compiled=False)
        run_setup.write_config(run)
        screen.say(run_setup.headline(run))
        trace = Trace(profile, workdir, screen.say)
        stack.callback(trace.end)
        if profile and profile.stop <= start.step:
            screen.say(f"profile: step {profile.stop} is done already, no trace")
        parts = Parts(
            run,
            mixture,
            checkpoints,
            _journal(run, start, screen, stack),
            run_eval.open(run, screen.say),
            stop,
            trace,
            lambda: start.seconds + time.monotonic() - began,
        )
        with stop.listening():
            parts, state, done, stopped = loop(parts, start)
        if stopped:
            screen.say(
                f"stopped after step {done} of {config.steps}: {stopped}; a checkpoint "
                "is saved, the same command goes on from it"
            )
        else:
            with out_of_memory.explained(parts.run, "evaluating at the end"):
                evaluation, journal = parts.evaluation, parts.journal
                run_eval.finish(evaluation, state.params, journal, parts.clock)


def loop(parts: Parts, start: Start) -> tuple[Parts, State, int, str]:
    """Steps until the end or a stop: (parts, state, steps done, why it stopped or "").

    The parts are those of the end: the mixture may have changed on the way.
    """
    run, journal, steps = parts.run, parts.journal, parts.run.config.steps
    state, done, stopped = start.state, start.step, ""
    evaluate_if_due(parts, state, done)  # the last start may have been killed in it
    if done == steps:
        return parts, state, done, stopped
    in_flight: collections.deque[Any] = collections.deque()
    train_step, feed = None, run.train.feed(done, steps)
    try:
        train_step = compile_step(run, journal.say)
        journal.start_clock()
        while done < steps and not stopped:
            if parts.trace.begins(done):
                switch_trace(parts, done)
            with parts.trace.step(done), jax.transfer_guard("disallow"):
                state = advance(parts, train_step, feed, in_flight, state, done)
                done += 1
                stopped = parts.stop.reason(done)
            if parts.trace.ends(done):
                switch_trace(parts, done)
            if stopped or done == steps or done % run.config.checkpoint.every == 0:
                save(parts, state, done)
            if not stopped:
                evaluate_if_due(parts, state, done)
                parts, changed = change_mixture_if_asked(parts, done)
                if changed:
                    feed.close()
                    feed = parts.run.train.feed(done, steps)
    except jax.errors.JaxRuntimeError as error:
        doing = "compiling the step"
        if train_step is not None:
            doing = f"in step {done + 1} or the one before"
        out_of_memory.explain(error, run, doing, train_step)
        raise
    finally:
        feed.close()
    return parts, state, done, "" if done == steps else stopped


def advance(
    parts: Parts,
    train_step: Any,
    feed: Feed,
    in_flight: collections.deque[Any],
    state: State,
    done: int,
) -> State:
    """The state after one more step, which the devices have still to take.

    They always have a step to go on with: what is waited for and read is of earlier
    ones. Whatever else would make the host wait is an error under the transfer guard.
    """
    batch, waited = feed.take(lambda: all(x.is_ready() for x in in_flight))
    state, measured = train_step(state, batch)
    cost = run_setup.cost(parts.run, done, waited)
    parts.journal.step(done + 1, measured, cost)
    in_flight.append(measured["grad_norm"])
    if len(in_flight) == AHEAD:
        in_flight.popleft().block_until_ready()
    return state


def compile_step(run: Run, say: Callable[[str], None]) -> Any:
    """The train step, compiled while the first batch is still being made."""
    began = time.monotonic()
    jitted = step.make_train_step(run.model, run.config, run.mesh)
    shapes = step.abstract_state(run.model, run.config, run.mesh)
    compiled = jitted.lower(shapes, run.train.shapes).compile()
    say(f"compiled the step in {metrics.clock(time.monotonic() - began)}")
    return compiled


def switch_trace(parts: Parts, done: int) -> None:
    """Begins or ends the trace, between whole steps: the devices are waited for."""
    parts.journal.flush()
    if parts.trace.begins(done):
        parts.trace.begin(done)
    else:
        parts.trace.end()
    parts.journal.start_clock()


def save(parts: Parts, state: State, done: int) -> None:
    """Saves a checkpoint; what the journal holds is checked and written before."""
    parts.journal.flush()
    meta = resuming.meta(
        parts.run, parts.mixture.changes, done, parts.journal.state(), parts.clock()
    )
    parts.checkpoints.save(done, state, meta)


def evaluate_if_due(parts: Parts, state: State, done: int) -> None:
    """Measures what the config asks for at this step, before the end."""
    asked, journal = parts.run.config.evaluation, parts.journal

    def due(every: int) -> bool:
        return bool(every and done) and done % every == 0

    if done == parts.run.config.steps:
        return
    if due(asked.every):
        journal.flush()
        with out_of_memory.explained(parts.run, "measuring held-out losses"):
            found = run_eval.losses(parts.evaluation, state.params)
        journal.write(done, run_eval.record(found))
        journal.say(f"step {done}: held-out loss {run_eval.line(found)}")
        journal.start_clock()
    if asked.tasks and due(asked.tasks_every):
        journal.flush()
        with out_of_memory.explained(parts.run, "asking few-shot tasks"):
            answerer = run_eval.answering_with(parts.evaluation, state.params)
            run_eval.tasks(parts.evaluation, answerer, done, journal)
        journal.start_clock()


def change_mixture_if_asked(parts: Parts, done: int) -> tuple[Parts, bool]:
    """At log steps, the parts after requests for other weights; and if any changed."""
    config, journal = parts.run.config, parts.journal
    if not parts.mixture.asked(done, config.log.every) or done == config.steps:
        return parts, False
    lines = parts.mixture.waiting()
    if not lines:
        return parts, False
    journal.flush()
    run = parts.mixture.take_up(parts.run, lines, done, compiled=True)
    journal.start_clock()
    changed = run is not parts.run
    evaluation = parts.evaluation._replace(run=run)
    return parts._replace(run=run, evaluation=evaluation), changed


def _screen(stack: contextlib.ExitStack) -> Screen:
    """Where progress is shown: standard output, of the first process only."""
    if processes.first():
        return Screen(sys.stdout)
    return Screen(stack.enter_context(open(os.devnull, "w")))


def _journal(
    run: Run, start: Start, screen: Screen, stack: contextlib.ExitStack
) -> Journal:
    """The journal of a run that goes on from `start`; the first process writes it."""
    config, writers = run.config, []
    if processes.first():
        resolved = run_setup.resolved(run)
        writers = metrics.writers(config.log, run.workdir, start.step, resolved)
    journal = Journal(
        run.sources,
        config.steps,
        config.log.every,
        run_setup.peak(run.mesh),
        writers,
        screen,
        start.journal,
    )
    stack.callback(journal.close)
    return journal


if __name__ == "__main__":
    cli.run(main)

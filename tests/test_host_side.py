"""The host's side of a run: it waits for no step in flight, and records what was."""

import collections
import dataclasses
import signal

import jax
import jax.numpy as jnp
import live_run
import numpy as np
import pytest
import tiny_run
from tiny_run import STEPS

from mmjax import config, feed, journal, metrics, run_setup, stopping, train

pytestmark = pytest.mark.usefixtures("quick_compilation")


def make_config(world, log=2, checkpoint=3, evaluation=4):
    """The tiny run, with these numbers of steps between what it does beside steps."""
    made = tiny_run.make_config(world)
    return dataclasses.replace(
        made,
        log=dataclasses.replace(made.log, every=log),
        checkpoint=dataclasses.replace(made.checkpoint, every=checkpoint),
        evaluation=config.Evaluation(every=evaluation, rows=4, samples=0),
    )


def each_step(done):
    """Makes a step of the compiled one: `done(number, metrics)` gives its metrics."""

    def made(compiled):
        def run_step(state, batch):
            number = int(jax.device_get(state.step)) + 1
            state, measured = compiled(state, batch)
            return state, done(number, measured)

        return run_step

    return tiny_run.with_step(made)


class Watched:
    """What a step measured, on the devices; tells when the host looks at it."""

    def __init__(self, array, look):
        self._array, self._look = array, look
        self.is_ready = array.is_ready  # asks, but doesn't wait

    def block_until_ready(self):
        self._look()
        return self._array.block_until_ready()

    def __array__(self, *_, **__):
        self._look()
        return jax.device_get(self._array)


@pytest.mark.parametrize(
    ("every", "pauses"),
    [
        pytest.param((1, 100, 0), {6}, marks=pytest.mark.slow),
        ((2, 4, 3), {3, 4, 6}),
    ],
)
def test_no_step_is_waited_for_before_the_next_is_handed_over(
    world, tmp_path, every, pauses
):
    """But for checkpoints, held-out losses and the end, which need the step's state."""
    given, looks = [0], set()

    def done(number, measured):
        given[0] = number
        return {
            name: Watched(array, lambda: looks.add((number, given[0])))
            for name, array in measured.items()
        }

    with each_step(done):
        train.train(make_config(world, *every), tmp_path)
    assert {number for number, _ in looks} == set(range(1, STEPS + 1))
    early = {number for number, handed_over in looks if handed_over <= number}
    assert early == pauses


def send():
    """Sends an array to a device without saying so."""
    jnp.negative(np.ones(3, np.float32))


REFUSED = "Disallowed host-to-device transfer"


def test_an_implicit_transfer_ends_the_run(world, tmp_path):
    def done(number, measured):
        send()
        return measured

    with each_step(done), pytest.raises(Exception, match=REFUSED):
        train.train(make_config(world), tmp_path)


def test_all_that_the_host_does_for_a_step_is_guarded(world, tmp_path, monkeypatch):
    places = {
        "take": feed.Feed,
        "cost": run_setup,
        "step": journal.Journal,
        "write": metrics.JsonLines,
        "reason": stopping.Stop,
    }
    refused = collections.Counter()

    def guarded(name, original):
        def tried(*arguments):
            try:
                send()
            except Exception as error:
                refused[name] += REFUSED in str(error)
            return original(*arguments)

        return tried

    for name, owner in places.items():
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, guarded(name, original))
    train.train(make_config(world, 1, 100, 0), tmp_path)
    # The record of the last step is written behind the loop.
    assert refused == dict.fromkeys(places, STEPS) | {"write": STEPS - 1}


@pytest.mark.parametrize(
    "log", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))]
)
def test_a_record_tells_of_the_steps_since_the_one_before(world, tmp_path, log):
    measured = {}

    def done(number, values):
        measured[number] = jax.device_get(values)
        return values

    with each_step(done):
        train.train(make_config(world, log=log), tmp_path)
    records = [line for line in tiny_run.records(tmp_path) if "loss" in line]
    ends = [*range(log, STEPS, log), STEPS]
    assert [record["step"] for record in records] == ends
    for start, record in zip([0, *ends], records):
        steps = [measured[n + 1] for n in range(start, record["step"])]
        nll = sum(step["loss_sum_by_source"].astype(np.float64) for step in steps)
        tokens = sum(step["loss_tokens_by_source"].sum() for step in steps)
        assert record["loss"] == pytest.approx(nll.sum() / tokens, rel=1e-12)
        assert record["loss_tokens"] == tokens
        norms = [float(step["grad_norm"]) for step in steps]
        assert record["grad_norm"] == pytest.approx(np.mean(norms), rel=1e-12)
        assert record["learning_rate"] == steps[-1]["learning_rate"]


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """The records of a run that was never interrupted."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    train.train(make_config(world), workdir)
    return tiny_run.records(workdir)


def not_finite(measured):
    return measured | {"grad_norm": jax.device_put(np.float32(np.nan))}


def stopped(measured):
    signal.raise_signal(signal.SIGTERM)
    return measured


def killed(measured):
    raise live_run.KilledError


EARLY = {killed: 5}  # what is tried by default


@pytest.mark.parametrize(
    ("end", "at"),
    [
        pytest.param(end, at, marks=[] if EARLY.get(end) == at else [pytest.mark.slow])
        for end in (not_finite, stopped, killed)
        for at in (2, 4, 5, 6)
    ],
)
def test_a_run_that_ends_early_and_goes_on_has_every_record_once(
    world, whole, tmp_path, end, at
):
    with each_step(lambda number, values: end(values) if number == at else values):
        if end is stopped:
            train.train(make_config(world), tmp_path)
        else:
            told = rf"step {at}: the loss or its gradient|^$"
            with pytest.raises((ValueError, live_run.KilledError), match=told):
                train.train(make_config(world), tmp_path)
    saved = {int(path.name) for path in (tmp_path / "checkpoints").iterdir()}
    assert saved == ({at} if end is stopped else set()) | ({3} if at > 3 else set())
    train.train(make_config(world), tmp_path)
    assert tiny_run.records(tmp_path) == whole
    assert [line["step"] for line in whole] == [2, 4, 6]

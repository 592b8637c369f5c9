"""Live changes of the mixture: a run that is asked for them, killed, and resumed."""

import dataclasses
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import live_run
import numpy as np
import pytest
import tiny_run
from live_run import FIRST, STEPS, make_config

from mmjax import (
    live_mixture,
    mixture_files,
    resuming,
    run_setup,
    schedule,
    train,
)
from mmjax.config import Mixture, Source, WeightChange
from mmjax.live_mixture import LiveMixture
from mmjax.mixture_files import Request

HERE = pathlib.Path(__file__).parent
WEIGHTS = (1, 2, 7)


pytestmark = pytest.mark.usefixtures("quick_compilation")


def scheduled(world, *changes):
    """The config that has had the changes in its schedule from the beginning."""
    parts = tuple(WeightChange(step, weights) for step, weights in changes)
    return make_config(world, mixture=Mixture((45, 45, 10), parts))


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """Workdir and batches of a run whose config has the change from the beginning."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    with live_run.watched({}) as batches:
        train.train(scheduled(world, (FIRST, WEIGHTS)), workdir)
    return workdir, batches


def test_a_live_change_gives_the_run_whose_config_had_it_from_the_beginning(
    world, whole, tmp_path, capsys
):
    actions = {
        0: live_run.asks(tmp_path, (1, 1)),
        1: live_run.asks(tmp_path, WEIGHTS),
        4: live_run.asks(tmp_path, (1, 0, 0), STEPS),
    }
    with live_run.watched(actions) as batches:
        train.train(make_config(world), tmp_path)
    assert batches == whole[1]
    assert tiny_run.records(tmp_path) == tiny_run.records(whole[0])
    shown = capsys.readouterr().out
    assert "refused: weights (1, 1): needs one a source" in shown
    assert f"interleaved 20.0 %, text 70.0 %) from step {FIRST} on" in shown
    assert f"refused: the first step that it could hold from is {STEPS}" in shown
    found = mixture_files.lines(tmp_path / mixture_files.CHANGES)
    outcomes = [(r["outcome"], r["at"]) for r in mixture_files.outcomes(found)]
    assert outcomes == [("refused", 1), ("taken", 2), ("refused", 5)]

    summary, other = (
        json.loads((workdir / "summary.json").read_text())
        for workdir in (tmp_path, whole[0])
    )
    assert summary["schedule"] == [[0, [45, 45, 10]], [FIRST, list(WEIGHTS)]]
    for figure in ("mixture", "delivered", "schedule", "loss"):
        assert summary[figure] == other[figure]
    for name, share in summary["mixture"].items():
        delivered = summary["delivered"][name]["rows"]
        assert abs(delivered - share * STEPS * tiny_run.ROWS) < 1
    assert "1 (10.0 %)" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_a_run_killed_after_a_live_change_repeats_it_bit_for_bit(
    world, whole, tmp_path
):
    """Killed before the first checkpoint, and after one that knows the change."""
    batches = {}
    for actions in (
        {1: live_run.asks(tmp_path, WEIGHTS), 2: live_run.kill},
        {5: live_run.kill},
    ):
        with live_run.watched(actions) as seen, pytest.raises(live_run.KilledError):
            train.train(make_config(world), tmp_path)
        batches |= seen
    (tmp_path / mixture_files.CHANGES).unlink()  # the checkpoint holds it too
    with live_run.watched({}) as seen:
        train.train(make_config(world), tmp_path)
    assert min(seen) == 3
    batches |= seen
    assert batches == whole[1]
    assert tiny_run.records(tmp_path) == tiny_run.records(whole[0])
    assert len(mixture_files.lines(tmp_path / mixture_files.REQUESTS)) == 1


def test_a_change_of_the_config_that_comes_too_late_is_refused_with_the_first_step(
    world, whole, tmp_path, monkeypatch
):
    """Blocks of 2 batches, and 10 rows of 8 ahead: after step 9 it is step 12."""
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(train, "compile_step", lambda *_: live_run.kill())
    changes = (FIRST, WEIGHTS), (11, (1, 1, 1))
    late = dataclasses.replace(scheduled(world, *changes), steps=15)
    with pytest.raises(
        ValueError, match=r"change at step 11 alters .* from step 12 on"
    ):
        train.train(late, tmp_path)
    changes = (FIRST, WEIGHTS), (12, (1, 1, 1))
    in_time = dataclasses.replace(scheduled(world, *changes), steps=15)
    with pytest.raises(live_run.KilledError):
        train.train(in_time, tmp_path)


def test_a_run_that_is_started_again_takes_up_what_was_asked_meanwhile(
    world, whole, tmp_path, monkeypatch, capsys
):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(train, "compile_step", lambda *_: live_run.kill())
    name = mixture_files.ask(tmp_path, Request((1, 1, 1), 0))
    longer = dataclasses.replace(scheduled(world, (FIRST, WEIGHTS)), steps=15)
    for shown in (True, False):  # the second start finds it on record
        with pytest.raises(live_run.KilledError):
            train.train(longer, tmp_path)
        assert (f"request {name}: 1, 1, 1" in capsys.readouterr().out) == shown
        values = json.loads((tmp_path / "config.json").read_text())["config"]
        schedule_ = [[c["step"], c["weights"]] for c in values["mixture"]["schedule"]]
        assert schedule_ == [[FIRST, list(WEIGHTS)], [12, [1, 1, 1]]]
    assert len(mixture_files.lines(tmp_path / mixture_files.CHANGES)) == 1


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    """A run that is set up, with a source that never has a weight."""
    made = make_config(world)
    data = dataclasses.replace(
        made.data, pool_capacity=0, sources=(*made.data.sources, Source("more"))
    )
    made = dataclasses.replace(made, data=data, mixture=Mixture((1, 1, 18, 0)))
    return run_setup.set_up(made, tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ((1, 1, 1), r"weights \(1, 1, 1\): needs one a source"),
        ((0, 0, 0, 0), "not all 0"),
        ((-1, 1, 1, 0), "integers >= 0"),
        ((1, 1, 1, 1), "source more: isn't open"),
        ((1, 0, 0, 0), r"would need \d+ image slots and the step is compiled for"),
    ],
)
def test_a_request_that_cannot_be_met_changes_nothing_and_is_on_record(
    run, tmp_path, weights, problem
):
    said = []
    live = LiveMixture(tmp_path, [], [], said.append)
    name = mixture_files.ask(tmp_path, Request(weights, 0))
    before = run.train.pipeline.plan.rows_of(3)
    after = live.take_up(run, live.waiting(), 2, compiled=True)
    assert after is run
    assert live.changes == []
    assert run.train.pipeline.plan.rows_of(3) == before
    (line,) = said
    assert f"request {name}: refused: " in line
    (record,) = mixture_files.outcomes(
        mixture_files.lines(tmp_path / mixture_files.CHANGES)
    )
    assert record["outcome"] == "refused"
    assert live.waiting() == []
    with pytest.raises(ValueError, match=problem):
        live_mixture.decide(run, name, Request(weights, 0), 2, compiled=True)


def test_before_the_step_is_compiled_a_pool_group_may_get_more_slots(run):
    wish = Request((1, 0, 0, 0), 0)
    decided = live_mixture.decide(run, "a", wish, 2, compiled=False)
    capacity = decided.run.train.pipeline.capacity
    assert capacity > run.train.pipeline.capacity
    assert decided.run.train.shapes.real_ZC.shape[1] == capacity
    (batch,) = decided.run.train.pipeline.batches(7, 8)
    assert batch.real_ZC.shape[1] == capacity
    assert (np.asarray(batch.sources_ZRT) == 0).mean() > 0.8


def test_a_step_in_the_past_is_the_first_that_is_possible_and_a_later_one_is_kept(run):
    plan = run.train.pipeline.plan
    first = plan.changeable_from(1)
    for asked, step in ((0, first), (1, first), (first + 2, first + 2)):
        wish = Request((1, 1, 17, 0), asked)
        decided = live_mixture.decide(run, "a", wish, 1, compiled=True)
        assert decided.change.step == step
        assert schedule.parts(decided.run.config.mixture)[1:] == [(step, wish.weights)]


def test_a_source_that_a_change_leaves_without_weight_is_not_missed_when_resuming(
    world, tmp_path
):
    """Its only part was to come, so the next start doesn't open it."""
    part = (WeightChange(5, (0, 0, 1)),)
    made = make_config(world, mixture=Mixture((1, 1, 0), part))
    run = run_setup.set_up(made, tmp_path)
    decided = live_mixture.decide(run, "a", Request((1, 2, 0), 5), 1, compiled=True)
    change = decided.change
    meta = resuming.meta(decided.run, [change], 2, {}, 0.0)
    saved = json.loads(json.dumps(meta))["data"]
    assert set(saved["sources"]) == {"captions", "interleaved"}
    assert saved["schedule"] == [[0, [1, 1, 0]], [5, [1, 2, 0]]]
    assert saved["changes"] == [["a", 5, [1, 2, 0]]]
    again = run_setup.set_up(
        schedule.merged(made, [change]), tmp_path, saved["known"]
    ).train.pipeline.plan
    assert again.sources[2] is None
    assert again.digest == saved["digest"]
    assert again.rows_of(6) == decided.run.train.pipeline.plan.rows_of(6)


def test_a_file_that_has_not_changed_is_not_read_again(run, tmp_path, monkeypatch):
    live = LiveMixture(tmp_path, [], [], print)
    assert live.waiting() == []
    mixture_files.ask(tmp_path, Request((1, 1, 1, 0), 0))
    assert len(live.waiting()) == 1
    monkeypatch.setattr(mixture_files, "lines", lambda path: pytest.fail("read"))
    assert live.waiting() == []


@pytest.mark.slow
def test_two_processes_agree_on_a_live_change(world, whole, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PYTHONPATH": str(HERE.parent),
    }
    program = HERE / "two_processes_mixture.py"
    running = [
        subprocess.Popen(
            [sys.executable, program, str(process), "2", str(port), world, tmp_path],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for process in range(2)
    ]  # fmt: skip
    try:
        output = [process.communicate(timeout=600) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, output, strict=True):
        assert process.returncode == 0, errors[-3000:]
    first, second = (json.loads(text.splitlines()[-1]) for text, _ in output)
    assert first["schedule"] == second["schedule"]
    assert first["schedule"] == [[0, [45, 45, 10]], [FIRST, list(WEIGHTS)]]
    for mine, theirs in zip(
        tiny_run.records(tmp_path), tiny_run.records(whole[0]), strict=True
    ):
        for name, value in theirs.items():
            assert mine[name] == pytest.approx(value, rel=1e-4), name
        assert {n: v for n, v in mine.items() if n.startswith("delivered")} == {
            n: v for n, v in theirs.items() if n.startswith("delivered")
        }

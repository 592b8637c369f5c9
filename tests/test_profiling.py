"""Traces: of the steps that were asked for; records are as they were without."""

import dataclasses
import signal

import jax
import pytest
import tiny_run

from mmjax import config, profiling, train
from mmjax.profiling import steps_of

pytestmark = pytest.mark.usefixtures("quick_compilation")


def make_config(world):
    """The tiny run, with a record after each step."""
    made = tiny_run.make_config(world)
    return dataclasses.replace(
        made,
        log=dataclasses.replace(made.log, every=1),
        evaluation=config.Evaluation(every=0, rows=4, samples=0),
    )


def traced(workdir):
    """Numbers of the steps that the only trace in a workdir holds, and its programs."""
    (path,) = workdir.glob("profile/plugins/profile/*/*.xplane.pb")
    steps, programs = [], set()
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                if event.name == profiling.NAME:
                    steps.append(stats["step_num"])
                programs.add(stats.get("hlo_module"))
    return sorted(steps), programs


def test_a_range_is_read_and_anything_else_refused_in_one_line():
    assert steps_of("", 10) == profiling.NONE
    assert steps_of("2:5", 10) == range(2, 5)
    assert steps_of("0:10", 10) == range(10)
    for text in ("5", "2-5", "a:b", "-1:3", "2:5:1", " 2:5", "2:", "1e1:20"):
        with pytest.raises(ValueError, match=rf"={text}: must be START:STOP"):
            steps_of(text, 10)
    for text in ("5:5", "5:2", "2:11", "10:12"):
        with pytest.raises(ValueError, match=rf"={text}: .* at most steps=10") as told:
            steps_of(text, 10)
        assert "\n" not in str(told.value)


def test_a_trace_holds_the_steps_of_the_range_and_changes_no_record(
    world, tmp_path, capsys
):
    train.train(make_config(world), tmp_path / "plain")
    train.train(make_config(world), tmp_path / "traced", range(2, 5))
    steps, programs = traced(tmp_path / "traced")
    assert steps == [3, 4, 5]
    assert "jit_train_step" in programs
    folder = tmp_path / "traced" / "profile"
    (line,) = (s for s in capsys.readouterr().out.splitlines() if "profile" in s)
    assert line.startswith(f"profile of steps 3 to 5: {folder}; ")
    assert line.endswith(f"xprof --logdir={folder}")
    records = [tiny_run.records(tmp_path / name) for name in ("plain", "traced")]
    assert records[0] == records[1]


@pytest.mark.slow
def test_a_run_that_stops_while_it_is_traced_leaves_what_it_has(
    world, tmp_path, capsys
):
    def stopped(compiled):
        def run_step(state, batch):
            if jax.device_get(state.step) == 2:
                signal.raise_signal(signal.SIGTERM)
            return compiled(state, batch)

        return run_step

    with tiny_run.with_step(stopped):
        train.train(make_config(world), tmp_path, range(1, 5))
    assert traced(tmp_path)[0] == [2, 3]
    assert "profile of steps 2 to 3: " in capsys.readouterr().out
    train.train(make_config(world), tmp_path, range(1, 3))
    assert "profile: step 3 is done already, no trace" in capsys.readouterr().out
    assert traced(tmp_path)[0] == [2, 3]


@pytest.mark.slow
def test_a_trace_that_cannot_be_written_does_not_end_the_run(world, tmp_path, capsys):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "profile").write_text("not a folder")
    train.train(make_config(world), tmp_path, range(1, 2))
    shown = capsys.readouterr().out
    assert f"profile: nothing written to {tmp_path / 'profile'}: " in shown
    assert (tmp_path / "report.html").exists()

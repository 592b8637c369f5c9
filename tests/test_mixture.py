"""The program that asks for another mixture and shows how it went so far."""

import json
import pathlib
import subprocess
import sys

import pytest

from mmjax import config as config_lib
from mmjax import mixture, mixture_files
from mmjax.config import Mixture, WeightChange
from mmjax.mixture_files import Request

ROOT = pathlib.Path(__file__).parent.parent
ROWS = 32


@pytest.fixture
def workdir(tmp_path):
    """The workdir of a run that is at step 40 of 1000."""
    made = config_lib.Config(steps=1000, mixture=Mixture((45, 45, 10)))
    made.mixture.schedule = (WeightChange(500, (1, 1, 0)),)
    made.data.rows_per_batch, made.data.block_batches = ROWS, 8
    text = json.dumps({"config": config_lib.to_dict(made)})
    (tmp_path / "config.json").write_text(text)
    rows = {"captions": 576, "interleaved": 577, "text": 127}
    record = {f"delivered/{name}/rows": count for name, count in rows.items()}
    lines = [{"step": 30, "loss": 2.0}, {"step": 40, **record}, {"step": 40, "x": 1}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    return tmp_path


def run(capsys, *arguments):
    mixture.main(["mixture", *arguments])
    return capsys.readouterr().out


def test_a_request_is_written_and_told_what_will_come_of_it(workdir, capsys):
    shown = run(capsys, f"--workdir={workdir}", "--weights=60,30,10")
    (line,) = mixture_files.lines(workdir / mixture_files.REQUESTS)
    assert mixture_files.parse(line) == Request((60, 30, 10), 0)
    assert f"request {mixture_files.name(line)}: weights 60, 30, 10 (captions" in shown
    # The next log line is step 50, its block ends at 56, 10 rows are less than a step.
    assert "taken up at step 50, it holds from step 57 on\n" in shown
    assert "until step 500, from which the schedule has 1, 1, 0 (captions" in shown
    assert "request" in run(capsys, f"--workdir={workdir}")

    flags = (f"--workdir={workdir}", "--weights=1,1,1")
    assert "from step 57 on (step 50 is too soon)" in run(capsys, *flags, "--step=50")
    assert "from step 600 on\n" in run(capsys, *flags, "--step=600")


def test_schedule_requests_and_deliveries_are_shown(workdir, capsys):
    waiting = mixture_files.ask(workdir, Request((1, 1, 1), 0))
    taken = {"outcome": "taken", "at": 30, "step": 36, "weights": [2, 2, 1]}
    mixture_files.record(workdir, {"request": "aaaa", **taken})
    refused = {"outcome": "refused", "at": 10, "reason": "too large"}
    mixture_files.record(workdir, {"request": "bbbb", **refused})
    shown = run(capsys, f"--workdir={workdir}")
    assert "step 40 of 1000" in shown
    assert "from step 0: 45, 45, 10 (captions 45.0 %, interleaved 45.0 %" in shown
    assert "from step 36: 2, 2, 1 (captions 40.0 %" in shown
    assert "request aaaa taken up at step 30" in shown
    assert f"waiting: request {waiting}: {{" in shown
    assert "refused: request bbbb at step 10: too large" in shown
    # 36 steps of 32 rows at 45 %, and 4 at 40 %: 569.6 of the 1280.
    line = next(x for x in shown.splitlines() if x.startswith("captions "))
    assert line.split() == ["captions", "576", "45.000", "%", "44.500", "%", "+6.40"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--weights=1,1"], r"--weights=\(1, 1\): needs one a source"),
        (["--weights=1,x,1"], "--weights=1,x,1: must be integers with commas"),
        (["--weights=0,0,0"], "not all 0"),
        (["--weights=1,1,1", "--step=1000"], "--step=1000: the run ends at step 1000"),
        (["--weights=1,1,1", "--step=0"], "step"),
        (["--step=50"], "--step=50: needs --weights"),
        (["60,30,10"], "'60,30,10': not a flag"),
        (["--weight=1,1,1"], "weight"),
        (["--workdir=/nowhere"], "--workdir=/nowhere: holds no run"),
        (["--workdir="], "--workdir is missing"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_asks_for_nothing(
    workdir, arguments, problem
):
    with pytest.raises(ValueError, match=problem) as caught:
        mixture.main(["mixture", f"--workdir={workdir}", *arguments])
    assert "\n" not in str(caught.value)
    assert not (workdir / mixture_files.REQUESTS).exists()


def test_a_source_that_is_not_open_and_a_run_that_ended_are_told(workdir):
    path = workdir / "config.json"
    values = json.loads(path.read_text())
    values["config"]["mixture"] |= {"weights": [1, 0, 1], "schedule": []}
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="source interleaved has no weight in the run"):
        mixture.main(["mixture", f"--workdir={workdir}", "--weights=1,1,1"])
    values["config"]["steps"] = 40
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="the run has ended, after step 40"):
        mixture.main(["mixture", f"--workdir={workdir}", "--weights=1,0,2"])


def test_the_program_ends_with_one_line_and_status_2(workdir):
    command = [sys.executable, "-m", "mmjax.mixture", f"--workdir={workdir}"]
    done = subprocess.run(
        [*command, "--weights=1"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("mmjax: error: --weights=(1,): needs one a source")
    assert done.stderr.count("\n") == 1


def test_every_unit_of_a_mixture_has_a_count():
    assert set(mixture.COUNTED) == set(config_lib.UNITS)

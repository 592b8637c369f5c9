"""The training program: interrupted, resumed, started on the wrong data."""

import dataclasses
import json
import shutil
import signal
import threading

import damage
import jax
import numpy as np
import programs
import pytest
import tiny_run
from tiny_run import ROWS, STEPS, make_config

from data_pipelines.prepare import sample_world
from mmjax import checkpoint, optim, sharding, step, train
from mmjax.models import vlm

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """The workdir of a run that was never interrupted."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    train.train(make_config(world), workdir)
    return workdir


def weights(workdir, made):
    """The parameters of a run's last checkpoint, by path."""
    mesh = sharding.make_mesh(made.mesh)
    shapes = step.abstract_state(vlm.build(made.model), made, mesh).params
    return optim.flatten(checkpoint.load_weights(str(workdir), shapes))


def test_a_run_leaves_curves_checkpoints_summary_and_report(finished):
    lines = tiny_run.records(finished)
    assert [line["step"] for line in lines] == [2, 3, 4, 6]
    assert {"heldout_loss/captions", "loss/text", "delivered/text/rows"} <= set(
        lines[-1]
    )
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["steps"] == STEPS
    assert summary["questions"]["colour"] == 2
    assert sum(d["rows"] for d in summary["delivered"].values()) == STEPS * ROWS
    assert summary["delivered"]["captions"]["rows"] == pytest.approx(
        STEPS * ROWS * 0.45, abs=1
    )
    page = (finished / "report.html").read_text()
    assert "<svg" in page
    resolved = json.loads((finished / "config.json").read_text())
    assert resolved["config"]["mesh"] == {
        "data": 1,
        "fsdp": 8,
        "tensor": 1,
        "expert": 1,
        "context": 1,
    }
    assert resolved["config"]["data"]["pool_capacity"] > 0
    assert resolved["versions"]["jax"] == jax.__version__


@pytest.mark.slow
def test_an_interrupted_run_becomes_bit_for_bit_the_uninterrupted_one(
    world, finished, tmp_path, capsys
):
    hasty = make_config(world, max_hours=1e-9)  # ends after one step
    train.train(hasty, tmp_path)
    assert (
        "stopped after step 1 of 6: max_hours=1e-09 are over" in capsys.readouterr().out
    )
    train.train(hasty, tmp_path)
    assert not (tmp_path / "report.html").exists()
    train.train(make_config(world), tmp_path)
    assert "resumed at step 2 of 6" in capsys.readouterr().out
    assert tiny_run.records(tmp_path) == tiny_run.records(finished)
    one, other = (weights(w, make_config(world)) for w in (finished, tmp_path))
    assert one.keys() == other.keys()
    for path, leaf in one.items():
        np.testing.assert_array_equal(leaf, other[path], path)


@pytest.mark.slow
def test_bad_records_are_borne_told_and_the_same_after_a_resume(
    world, tmp_path, capsys
):
    root = tmp_path / "world"
    shutil.copytree(world, root)
    damage.harm(root / "captions" / "train", dict.fromkeys(range(0, 80, 4), "mismatch"))
    made = make_config(root)
    made.data.sample_world.enabled = False
    with pytest.raises(ValueError, match="in its index"):
        train.train(made, tmp_path / "strict")
    made.data = dataclasses.replace(made.data, on_bad_record="mask", max_bad_share=1.0)
    train.train(made, tmp_path / "whole")
    assert "| bad documents " in capsys.readouterr().out
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    count = summary["faults"]["captions"]["mismatch"]
    assert tiny_run.records(tmp_path / "whole")[-1]["faults"] == count > 0
    page = (tmp_path / "whole" / "report.html").read_text()
    assert "Bad documents" in page
    train.train(dataclasses.replace(made, max_hours=1e-9), tmp_path / "parts")
    train.train(made, tmp_path / "parts")
    assert tiny_run.records(tmp_path / "parts") == tiny_run.records(tmp_path / "whole")


def command(workdir, world, *flags):
    """The README's command, shortened, on one device."""
    short = [
        "--config.steps=4", "--config.optim.warmup_steps=2", "--config.log.every=1",
        "--config.evaluation.every=2", "--config.evaluation.questions=",
        "--config.evaluation.samples=0", "--config.evaluation.tasks=()",
        f"--config.data.root={world}",
        f"--workdir={workdir}", "--config.data.sample_world.captions=600",
        "--config.data.sample_world.interleaved=300",
    ]  # fmt: skip
    return programs.run("mmjax.train", "--config=configs/quickstart.py", *short, *flags)


@pytest.mark.slow
def test_the_quickstart_resumes_bit_for_bit(tmp_path):
    world, whole, parts = (tmp_path / name for name in ("world", "whole", "parts"))
    command(whole, world)
    for _ in range(3):
        assert "stopped after" in command(parts, world, "--config.max_hours=1e-9")
    assert "resumed at step 3 of 4" in command(parts, world)
    assert tiny_run.records(parts) == tiny_run.records(whole)


def test_a_signal_ends_a_run_with_a_checkpoint(world, tmp_path, capsys):
    timer = threading.Timer(0, signal.raise_signal, (signal.SIGTERM,))

    def compiled_late(compiled):
        timer.start()
        timer.join()
        return compiled

    with tiny_run.with_step(compiled_late):
        train.train(make_config(world), tmp_path)
    assert "stopped after step 1 of 6: SIGTERM" in capsys.readouterr().out
    assert (tmp_path / "checkpoints/1").is_dir()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
def test_a_finished_run_only_makes_what_is_missing(world, finished, capsys):
    before = tiny_run.records(finished)
    train.train(make_config(world), finished)
    assert "all 6 steps are done" in capsys.readouterr().out
    summary = json.loads((finished / "summary.json").read_text())
    (finished / "report.html").unlink()
    train.train(make_config(world), finished)
    assert (finished / "report.html").exists()
    again = json.loads((finished / "summary.json").read_text())
    for name in ("heldout_loss", "accuracy", "delivered", "loss", "tokens_per_second"):
        assert again[name] == summary[name]
    assert tiny_run.records(finished) == before


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"data": {"seed": 1}}, "data of source captions, interleaved, text: shards"),
        ({"data": {"block_batches": 2}}, "data: the layout of batches"),
        (
            {"mixture": {"weights": (1, 1, 1)}},
            r"mixture: weights before step 6 are \(1,",
        ),
        ({"model": {"loss_chunk": 64}}, None),
    ],
)
def test_other_data_than_the_checkpoint_s_is_refused_by_name(
    world, finished, changes, line
):
    made = make_config(world)
    for part, fields in changes.items():
        made = dataclasses.replace(
            made, **{part: dataclasses.replace(getattr(made, part), **fields)}
        )
    if line is None:
        train.train(made, finished)
    else:
        with pytest.raises(ValueError, match=line):
            train.train(made, finished)


def test_a_run_can_start_from_another_run_s_weights_alone(world, finished, tmp_path):
    made = make_config(world, init_from=str(finished), max_hours=1e-9)
    train.train(made, tmp_path)
    assert (tmp_path / "checkpoints/1").is_dir()
    old, new = weights(finished, made), weights(tmp_path, made)
    for path, leaf in old.items():
        # One step of a fresh AdamW: each number moves by about the rate, which is 1e-2
        # in the first step of this run, and by the tenth of it that decays.
        moved = np.abs(np.asarray(leaf) - np.asarray(new[path]))
        assert (moved <= 1.01e-2 * (1 + 0.1 * np.abs(leaf))).all(), path
    assert any((np.abs(old[p] - new[p]) > 0.9e-2).any() for p in old)


def test_a_corrupt_shard_is_named(tmp_path):
    root = tmp_path / "world"
    sample_world.ensure(root, tiny_run.spec(), progress=False)
    (shard,) = (root / "captions/train").glob("*.array_record")
    data = bytearray(shard.read_bytes())
    middle = slice(len(data) // 4, len(data) // 2)
    data[middle] = bytes(len(data[middle]))
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{shard.name}.*corrupt"):
        train.train(make_config(root), tmp_path / "run")

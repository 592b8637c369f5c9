"""What a run consists of: data, mesh, costs, and what is written of them."""

import json

import jax
import numpy as np
import pytest
import tiny_run

from data_pipelines.prepare import sample_world
from mmjax import config, flops, run_setup


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    made = tiny_run.make_config(root / "world")
    return run_setup.set_up(made, root / "work")


def test_the_sample_world_is_made_on_first_use(run):
    assert (run.train.pipeline.plan.capacity) % 8 == 0
    sample_world.ensure(run.config.data.root, tiny_run.spec())  # and taken as it is


def test_the_resolved_config_comes_back_from_its_file(run):
    run_setup.write_config(run)
    text = json.loads((run.workdir / "config.json").read_text())
    made = config.from_dict(text["config"])
    assert made.mesh == config.Mesh(1, 8, 1)
    assert made.data.pool_capacity == run.train.pipeline.capacity
    made.mesh, made.data.pool_capacity = run.config.mesh, run.config.data.pool_capacity
    assert made == run.config
    assert text["versions"]["jax"] == jax.__version__
    assert len(text["git_revision"].rstrip("+")) == 40


def test_batches_reach_the_devices_ahead_and_whole(run):
    feed = run.train.feed(0, 2)
    (batch,) = run.train.pipeline.batches(0, 1)
    placed, _ = feed.take(lambda: True)
    feed.close()
    assert placed.tokens_ZRT.sharding.mesh == run.mesh
    for name, expected in batch._asdict().items():
        np.testing.assert_array_equal(getattr(placed, name), expected, name)


def test_the_cost_of_a_step_is_that_of_its_batch(run):
    (batch,) = run.train.pipeline.batches(3, 4)
    cost = run_setup.cost(run, 3, 0.25)
    # Positions count from 0 in each document, so each attends to one more than that.
    pairs = int((batch.positions_ZRT + 1)[batch.segments_ZRT > 0].sum())
    used = int((batch.segments_ZRT > 0).sum())
    work = flops.Work(int(batch.real_ZC.sum()), used, pairs)
    spent = flops.step(run.config.model, work, run.trainable)
    assert cost.flops == sum(spent.values())
    assert cost.waited == 0.25
    assert sum(counts["rows"] for counts in cost.counts.values()) == tiny_run.ROWS
    assert sum(counts["images"] for counts in cost.counts.values()) == work.images


def test_the_headline_names_model_devices_and_pools(run):
    text = run_setup.headline(run)
    assert "8 x cpu (data 1 x fsdp 8 x tensor 1 x expert 1 x context 1)" in text
    assert f"image slots of a pool group: {run.train.pipeline.capacity}" in text
    parts = run_setup.parameters(run)
    assert text.startswith(f"{sum(parts.values()) / 1000:.1f}k parameters")
    assert parts["vit"] == 5408


def test_plans_lie_beside_the_data_or_where_that_cannot_be_in_the_workdir(tmp_path):
    made = config.Config()
    made.data.root = str(tmp_path)
    assert run_setup.plan_cache(made, tmp_path / "w") == tmp_path / ".plans"
    made.data.cache = "/somewhere"
    assert str(run_setup.plan_cache(made, tmp_path / "w")) == "/somewhere"
    made.data.cache, made.data.root = "", str(tmp_path / "missing")
    assert run_setup.plan_cache(made, tmp_path / "w") == tmp_path / "w/plans"

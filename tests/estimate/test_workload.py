"""The workload: the data's own where they are, else assumed and said to be."""

import estimate_samples
import pytest
import synthetic
import tiny_run

from data_pipelines import pipeline
from data_pipelines.prepare import sample_world
from mmjax import dry_run, flops
from mmjax.estimate import workload


def test_without_data_rows_are_full_and_pools_nearly(tmp_path):
    config = estimate_samples.config()
    config.data.root = str(tmp_path / "missing")
    found = workload.of(config, 16)
    assert found.capacity == 16 * 16
    images = 0.95 * 256 * 32
    assert found.work == flops.work(images, [4096] * 512)
    assert "assumed" in found.note
    assert "missing" in found.note


@pytest.mark.parametrize(("images", "capacity"), [(0, 16), (0.5, 16), (1.1, 32)])
def test_a_pool_is_a_multiple_of_what_the_encoders_shards_divide(images, capacity):
    assert workload.of(estimate_samples.config(), images).capacity == capacity


def test_a_capacity_of_the_config_is_taken(tmp_path):
    config = synthetic.config()
    config.data.root = str(tmp_path)
    assert workload.of(config, 16).capacity == config.data.pool_capacity


def test_with_data_it_is_what_the_run_plans(tmp_path):
    sample_world.ensure(tmp_path, tiny_run.spec(), progress=False)
    config = tiny_run.make_config(tmp_path, steps=7)
    found, opened = workload.of(config, 16), pipeline.open(config)
    assert found.capacity == opened.capacity
    assert found.work == dry_run.mean_work(config, opened)[1]
    assert "first 7 batches" in found.note

"""Each connector trains on the sample world: a few steps, and the loss falls."""

import connector_samples
import jax
import numpy as np
import pytest
import synthetic
import tiny_run

from data_pipelines import pipeline
from mmjax import config as config_lib
from mmjax import run_setup, sharding, step, validation
from mmjax.models import vlm

STEPS = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on its own sample world: captions of 4 x 4 patches, one device."""
    made = tiny_run.make_config(tmp_path_factory.mktemp("world"))
    made.mesh, made.mixture.weights = config_lib.Mesh(1, 1, 1), (1, 0, 0)
    made.model.vit.patch_size, made.steps = 4, STEPS
    run_setup.make_sample_world(made)
    return made


QUICK = "c_abstractor"  # the others run in .ci/full


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind == QUICK else pytest.mark.slow)
        for kind in config_lib.CONNECTORS
    ],
)
def test_the_loss_falls_and_every_parameter_of_the_connector_moves(made, kind):
    made.model.connector = connector_samples.model(kind, tokens=16).connector
    validation.validate(made)
    opened = pipeline.open(made)
    mesh = sharding.make_mesh(made.mesh, jax.devices()[:1])
    stream, model = run_setup.stream(made, mesh, opened), vlm.build(made.model)
    with synthetic.quick_compilation():
        train_step = step.make_train_step(model, made, mesh)
        state = step.init_state(model, made, mesh, jax.random.key(0))
    before = jax.device_get(state.params["connector"])
    losses, feed = [], stream.feed(0, STEPS)
    with synthetic.quick_compilation():
        for _ in range(STEPS):
            state, metrics = train_step(state, feed.take(lambda: True)[0])
            counts = metrics["loss_tokens_by_source"].sum()
            losses.append(float(metrics["loss_sum_by_source"].sum() / counts))
    feed.close()
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:2]), losses
    still = jax.tree.map(
        lambda a, b: np.array_equal(a, b), before, state.params["connector"]
    )
    paths = jax.tree_util.tree_leaves_with_path(still)
    assert [jax.tree_util.keystr(path) for path, same in paths if same] == []

"""Cross-attention learns on the sample world: gates open, and images help captions."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny_run

from data_pipelines import pipeline
from mmjax import config as config_lib
from mmjax import run_setup, sharding, step, validation
from mmjax.models import vlm

STEPS = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on captions of its own sample world, on one device."""
    made = tiny_run.make_config(tmp_path_factory.mktemp("world"), steps=STEPS)
    made.data.sample_world = dataclasses.replace(tiny_run.spec(), captions=600)
    made.mesh, made.mixture.weights = config_lib.Mesh(1, 1, 1), (1, 0, 0)
    vit, decoder = made.model.vit, made.model.decoder
    vit.patch_size, vit.width, vit.mlp_width = 4, 32, 64
    decoder.width, decoder.heads, decoder.kv_heads, decoder.mlp_width = 64, 4, 4, 128
    decoder.head_size = 16
    decoder.cross_attention = config_lib.CrossAttention(every=1)
    validation.validate(made)
    run_setup.make_sample_world(made)
    return made


@pytest.mark.slow
def test_captions_cost_less_with_their_images_once_the_gates_are_open(made):
    opened = pipeline.open(made)
    mesh = sharding.make_mesh(made.mesh, jax.devices()[:1])
    stream, model = run_setup.stream(made, mesh, opened), vlm.build(made.model)
    train_step = step.make_train_step(model, made, mesh)
    found = {}
    for blind in False, True:
        state, losses = step.init_state(model, made, mesh, jax.random.key(0)), []
        feed = stream.feed(0, STEPS)
        for _ in range(STEPS):
            batch = feed.take(lambda: True)[0]
            if blind:  # what text alone reaches
                batch = batch._replace(pixels_ZChwc=batch.pixels_ZChwc * 0)
            state, metrics = train_step(state, batch)
            counts = metrics["loss_tokens_by_source"].sum()
            losses.append(float(metrics["loss_sum_by_source"].sum() / counts))
        feed.close()
        gates = state.params["decoder"]["blocks"]["cross"]
        assert all(
            np.abs(gates[f"{name}_gate"]) > 0.05 for name in ("attention", "mlp")
        )
        found[blind] = np.mean(losses[-10:])
    assert found[False] < found[True] - 0.05, found

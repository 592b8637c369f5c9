"""Encoders' objectives in the train step: on any mesh, in any microbatches."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pair_samples
import pytest
import synthetic
from short_form import slow_unless

from data_pipelines import lessons
from mmjax import config as config_lib
from mmjax import encoder_steps, objectives, page, sharding, step
from mmjax.models import vlm
from mmjax.ops import next_patch

KINDS = ("aim", "contrastive")


pytestmark = pytest.mark.usefixtures("quick_compilation")


@functools.cache
def trained(kind: str, shape=synthetic.ONE, steps: int = 2, accumulate: int = 1):
    """Metrics of steps on the same batch of 16 pairs."""
    config = pair_samples.config(kind, 8, 12, 8, accumulate=accumulate)
    mesh, model = synthetic.mesh(shape), vlm.build(config.model)
    state = step.init_state(model, config, mesh, jax.random.key(0))
    batch = jax.device_put(pair_samples.sixteen_pairs(), sharding.batch_shardings(mesh))
    train_step, history = step.make_train_step(model, config, mesh), []
    for _ in range(steps):
        state, metrics = train_step(state, batch)
        history.append(jax.device_get(metrics))
    return history


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        pytest.param("contrastive", synthetic.EIGHT, marks=pytest.mark.slow),
        pytest.param("contrastive", (2, 2, 1, 1, 2), marks=pytest.mark.slow),
        pytest.param("aim", synthetic.EIGHT, marks=pytest.mark.slow),
        pytest.param("aim", (2, 1, 2, 1, 2), marks=pytest.mark.slow),
    ],
)
def test_eight_devices_train_as_one(kind, shape):
    one, eight = trained(kind), trained(kind, shape)
    for ours, theirs in zip(one, eight):
        np.testing.assert_allclose(
            ours["loss_sum_by_source"], theirs["loss_sum_by_source"], rtol=1e-4
        )
        np.testing.assert_array_equal(
            ours["loss_tokens_by_source"], theirs["loss_tokens_by_source"]
        )
        np.testing.assert_allclose(ours["grad_norm"], theirs["grad_norm"], rtol=1e-3)


@pytest.mark.parametrize("kind", slow_unless(KINDS, ["aim"]))
def test_the_loss_falls(kind):
    losses = synthetic.losses(trained(kind, steps=40))
    chance = np.log(16) if kind == "contrastive" else 1.0
    assert losses[-1] < min(0.8 * losses[0], chance)


@pytest.mark.slow
def test_things_are_counted_by_the_source_of_their_image():
    history = trained("contrastive")
    assert history[0]["loss_tokens_by_source"].tolist() == [8, 8]
    counts = [m["loss_tokens_by_source"] for m in trained("aim")]
    prefix = next_patch.prefixes(
        jax.random.fold_in(jax.random.key(0), 0), (2, 8), 4
    ).reshape(2, 4, 2)
    wanted = [int((4 - prefix[:, place::2]).sum()) for place in (0, 1)]
    assert counts[0].tolist() == wanted
    assert counts[1].tolist() != wanted  # the next step draws others


@pytest.mark.slow
def test_prefixes_and_losses_are_the_same_in_microbatches():
    one, two = trained("aim"), trained("aim", accumulate=2)
    for ours, theirs in zip(one, two):
        np.testing.assert_array_equal(
            ours["loss_tokens_by_source"], theirs["loss_tokens_by_source"]
        )
        np.testing.assert_allclose(
            ours["loss_sum_by_source"], theirs["loss_sum_by_source"], rtol=1e-5
        )


def test_empty_slots_add_nothing():
    config = pair_samples.config("aim", 8, 12, 8)
    model = vlm.build(config.model)
    params = jax.jit(model.init)(jax.random.key(0))
    objective = objectives.aim(model, config, 2)
    batch = pair_samples.sixteen_pairs()
    empty = batch._replace(real_ZC=np.zeros_like(batch.real_ZC))
    drawn = objective.draw(batch, 0)
    assert int(objective.things(empty, drawn)) == 0
    sums = jax.jit(objective.sums)(params, empty, drawn)
    assert sums.loss_S.tolist() == [0, 0]


def test_the_loss_of_aim_is_that_of_the_pixels_after_each_prefix():
    """Against a loop over patches, each normalized by itself."""
    config = pair_samples.config("aim", 8, 12, 8)
    model = vlm.build(config.model)
    params = jax.jit(model.init)(jax.random.key(0))
    batch = pair_samples.sixteen_pairs()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, batch.pixels_ZChwc.shape).astype(np.uint8)
    real_ZC = batch.real_ZC & (np.arange(8) != 3)
    batch = batch._replace(pixels_ZChwc=noise, real_ZC=real_ZC)
    objective = objectives.of(model, config, 2)
    prefix_ZC = objective.draw(batch, 7)
    made = jax.jit(model.apply)(params, batch, prefix_ZC).pixels_ZCPp
    total, count, vit = 0.0, 0, config.model.vit
    for z, c in np.argwhere(real_ZC):
        for place in range(int(prefix_ZC[z, c]), 4):
            row, column = divmod(place, 2)
            patch = noise[z, c, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            target = (patch / 255.0 - vit.mean) / vit.std  # what the encoder sees
            target = ((target - target.mean()) / np.sqrt(target.var() + 1e-6)).ravel()
            total += np.mean((np.asarray(made[z, c, place - 1]) - target) ** 2)
            count += 1
    sums = jax.jit(objective.sums)(params, batch, prefix_ZC)
    np.testing.assert_allclose(sums.loss_S.sum(), total, rtol=1e-4)
    assert int(objective.things(batch, prefix_ZC)) == sums.tokens_S.sum() == count


def test_an_evaluation_draws_the_same_at_every_call():
    config = pair_samples.config("aim", 8, 12, 8)
    mesh, model = synthetic.mesh(synthetic.EIGHT), vlm.build(config.model)
    params = step.init_state(model, config, mesh, jax.random.key(0)).params
    batch = jax.device_put(pair_samples.sixteen_pairs(), sharding.batch_shardings(mesh))
    sums_step = encoder_steps.make_sums_step(model, config, mesh, 2)
    one, two = (sums_step(params, batch) for _ in range(2))
    np.testing.assert_array_equal(one.loss_S, two.loss_S)
    assert int(one.tokens_S.sum()) > 0


def test_texts_reach_their_images_without_a_whole_batch_on_one_device():
    """What devices exchange is vectors and weights, no logits and no rows of states."""
    config = pair_samples.config("contrastive", 32, 128, 56)
    config.model.objective.contrast.block = 7
    config.model.attention = "reference"  # quicker to compile
    text = synthetic.lower(config, (2, 4, 1)).compile().as_text()
    found = synthetic.collectives(text)
    pairs, width = 2 * 56, config.model.decoder.width
    shapes = {tuple(shape.split(",")) for shape in re.findall(r"\[([\d,]+)\]", text)}
    assert (str(pairs // 8), "7") in shapes  # logits of own images and a block
    assert not any(shape.count(str(pairs)) > 1 for shape in shapes)
    assert (str(pairs**2),) not in shapes
    hidden = 16 * 128 * width  # states of a group's rows
    weights = max(
        leaf.size
        for leaf in jax.tree.leaves(
            jax.eval_shape(vlm.build(config.model).init, jax.random.key(0))
        )
    )
    indices = 2 * 16 * 129  # which document is where: whole numbers of a group
    limit = max(pairs * width, weights, indices)
    assert limit < min(hidden, pairs**2)
    assert found
    assert max(size for _, _, size in found) <= limit, found


def test_tables_have_the_configs_names():
    kinds = set(config_lib.OBJECTIVES)
    assert set(vlm.OBJECTIVES) == set(objectives.OBJECTIVES) == set(page.UNITS) == kinds
    assert set(lessons.USEFUL) == kinds - {"next_token"} == set(KINDS)


def test_the_features_of_an_encoder_are_those_that_the_whole_model_reads():
    model = pair_samples.model("next_token")
    params = jax.jit(vlm.build(model).init)(jax.random.key(0))
    pixels = pair_samples.sixteen_pairs().pixels_ZChwc
    one = vlm.build_encoder(model)(params["vit"], jnp.asarray(pixels))
    other = vlm.build_encoder(pair_samples.model("aim"))(
        params["vit"], jnp.asarray(pixels)
    )
    assert one.shape == (2, 8, 4, 8)
    np.testing.assert_array_equal(one, other)

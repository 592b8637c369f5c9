import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import synthetic

from mmjax import objectives, optim, sharding, step
from mmjax.models import vlm
from mmjax.ops.cross_entropy import TokenLoss

pytestmark = pytest.mark.usefixtures("quick_compilation")


def plain_loss(run, params, batch):
    """Mean of -log p over loss tokens plus z-loss, from whole logits."""
    outputs = run.model.apply(params, batch)
    logits = jnp.einsum("ZRTD,DV->ZRTV", outputs.hidden_ZRTD, outputs.unembed_DV)
    log_p = jax.nn.log_softmax(logits)
    nll = -jnp.take_along_axis(log_p, batch.targets_ZRT[..., None], -1)[..., 0]
    log_z = jax.nn.logsumexp(logits, axis=-1)
    every = nll + run.config.model.z_loss * log_z**2
    return jnp.sum(every * batch.loss_mask_ZRT) / batch.loss_mask_ZRT.sum(), nll


def assert_close(left, right, **tolerance):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **tolerance), left, right
    )


def test_a_step_is_one_adamw_update_of_the_plain_mean_loss():
    run = synthetic.run()
    state, batch = run.state(), synthetic.batch(run.config, seed=0)
    gradient = jax.jit(jax.grad(lambda p: plain_loss(run, p, batch)[0]))(state.params)
    norm = optax.global_norm(gradient)
    before = jax.device_get(state.params)
    after, history = run.train(state, 0, 1)
    np.testing.assert_allclose(history[0]["grad_norm"], norm, rtol=1e-5)
    mean = after.opt_state[1].mu  # a tenth of the clipped gradient
    clipped = jax.tree.map(lambda g: g / jnp.maximum(1, norm), gradient)
    assert_close(mean, jax.tree.map(lambda g: 0.1 * g, clipped), rtol=1e-4, atol=1e-7)
    optimizer = step.optimizer(run.config)
    taken = jax.tree.map(lambda m: m / 0.1, mean)

    @jax.jit
    def update(taken, params):
        updates, _ = optimizer.update(taken, optimizer.init(params), params)
        return optax.apply_updates(params, updates)

    assert_close(after.params, update(taken, before), rtol=1e-5, atol=1e-5)
    assert int(after.step) == 1


def test_the_loss_falls_and_metrics_count_what_the_batch_holds():
    run = synthetic.run()
    _, history = run.train(run.state(), 0, 8)
    assert np.mean(synthetic.losses(history)[-2:]) < synthetic.losses(history)[0]
    rate = step.learning_rate(run.config)
    for i, metrics in enumerate(history):
        batch = synthetic.batch(run.config, seed=i)
        by_source = [
            batch.loss_mask_ZRT[batch.sources_ZRT == s].sum() for s in range(3)
        ]
        np.testing.assert_array_equal(metrics["loss_tokens_by_source"], by_source)
        assert metrics["images"] == batch.real_ZC.sum()
        assert metrics["slots"] == batch.real_ZC.size
        assert metrics["tokens"] == (batch.segments_ZRT > 0).sum()
        assert metrics["positions"] == batch.tokens_ZRT.size
        np.testing.assert_allclose(metrics["learning_rate"], rate(i), rtol=1e-6)
        assert all(np.isfinite(value).all() for value in metrics.values())


def test_sums_by_source_equal_a_numpy_loop():
    config = synthetic.config()
    batch = synthetic.batch(config, seed=3)
    rng = np.random.default_rng(0)
    nll, log_z = rng.random((2, *batch.tokens_ZRT.shape), np.float32)
    nll[~batch.loss_mask_ZRT] = np.nan  # what doesn't count is never looked at
    sums = objectives.add_up(TokenLoss(nll, log_z, nll > 0), batch, 3)
    expected = np.zeros(3)
    for z, r, t in np.argwhere(batch.loss_mask_ZRT):
        expected[batch.sources_ZRT[z, r, t]] += nll[z, r, t]
    np.testing.assert_allclose(sums.loss_S, expected, rtol=1e-6)
    squares = (log_z[batch.loss_mask_ZRT] ** 2).sum()
    np.testing.assert_allclose(sums.z_loss, squares, rtol=1e-6)


def test_a_row_that_is_not_finite_shows_in_its_source_alone():
    config = synthetic.config()
    batch = synthetic.batch(config, seed=0)._replace(
        sources_ZRT=np.zeros((4, 2, 16), np.int32)
    )
    batch.sources_ZRT[0, 0] = 2
    nll = np.ones(batch.tokens_ZRT.shape, np.float32)
    nll[0, 0] = np.inf
    sums = objectives.add_up(TokenLoss(nll, nll, nll > 0), batch, 3)
    assert np.isinf(sums.loss_S[2])
    assert np.isfinite(sums.loss_S[:2]).all()


def test_a_loss_that_is_not_finite_shows_in_the_metrics_and_is_not_skipped():
    run = synthetic.run()
    state = run.state()
    leaves = optim.flatten(state.params)
    leaves["decoder/norm/scale"] = leaves["decoder/norm/scale"] * np.nan
    state, history = run.train(state._replace(params=optim.unflatten(leaves)), 0, 1)
    assert not np.isfinite(history[0]["loss_sum_by_source"]).any()
    assert not np.isfinite(history[0]["grad_norm"])
    assert int(state.step) == 1


def test_one_device_and_eight_give_the_same_curve():
    one, eight = synthetic.run(synthetic.ONE), synthetic.run(synthetic.EIGHT)
    first, curve = one.train(one.state(), 0, 6)
    second, other = eight.train(eight.state(), 0, 6)
    for a, b in zip(curve, other, strict=True):
        assert_close(a, b, rtol=2e-5, atol=1e-5)
    assert_close(first.opt_state, second.opt_state, rtol=1e-3, atol=1e-5)


def test_parameters_are_born_sharded_and_equal_on_every_mesh():
    run = synthetic.run(synthetic.EIGHT)
    state = step.init_state(run.model, run.config, run.mesh, jax.random.key(0))
    wanted = step.abstract_state(run.model, run.config, run.mesh)
    assert jax.tree.map(lambda x: x.sharding, state) == jax.tree.map(
        lambda x: x.sharding, wanted
    )
    kernel = state.params["decoder"]["blocks"]["mlp"]["up"]["kernel"]
    assert kernel.addressable_shards[0].data.size == kernel.size // 4
    assert_close(state, run.state(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("accumulate", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_accumulation_gives_the_same_update_where_loss_tokens_are_unequal(accumulate):
    whole, parts = synthetic.run(), synthetic.run(accumulate=accumulate)
    batch = synthetic.batch(whole.config, seed=0)
    assert len(set(batch.loss_mask_ZRT.sum((1, 2)))) > 1  # not equal between groups
    first, curve = whole.train(whole.state(), 0, 3)
    second, other = parts.train(parts.state(), 0, 3)
    for a, b in zip(curve, other, strict=True):
        assert_close(a, b, rtol=2e-5, atol=1e-6)
    assert_close(first.opt_state, second.opt_state, rtol=1e-3, atol=1e-6)


def test_microbatches_are_whole_groups_that_each_data_shard_holds_already():
    config = synthetic.config()
    batch = synthetic.batch(config, seed=0)
    parts = step.microbatches(batch, 2)
    np.testing.assert_array_equal(parts.tokens_ZRT[0], batch.tokens_ZRT[[0, 2]])
    np.testing.assert_array_equal(parts.pixels_ZChwc[1], batch.pixels_ZChwc[[1, 3]])
    mesh = synthetic.mesh(synthetic.EIGHT)
    placed = jax.device_put(batch, sharding.batch_shardings(mesh))
    text = jax.jit(step.microbatches, static_argnums=1).lower(placed, 2).compile()
    assert not synthetic.collectives(text.as_text())


def test_frozen_parts_are_not_differentiated():
    backward_of_vit = "transpose(jvp(VLM))/vit"
    text = synthetic.lower(synthetic.config()).as_text(debug_info=True)
    assert backward_of_vit in text
    text = synthetic.lower(synthetic.config(frozen=("^vit/",))).as_text(debug_info=True)
    assert backward_of_vit not in text
    assert "jvp(VLM)/connector" in text


@pytest.mark.slow
def test_frozen_parts_stay_as_they_are_while_the_others_move():
    config = synthetic.config(frozen=("^vit/", "embedding"))
    run = synthetic.run()._replace(
        config=config, train_step=synthetic.lower(config).compile()
    )
    state = step.init_state(run.model, config, run.mesh, jax.random.key(0))
    before = optim.flatten(jax.device_get(state.params))
    state, _ = run.train(state, 0, 2)
    still = {
        path
        for path, value in optim.flatten(state.params).items()
        if np.array_equal(value, before[path])
    }
    assert still == {p for p in before if p.startswith("vit/") or "embedding" in p}


def test_the_state_is_donated_and_the_metrics_stay_on_the_devices():
    run = synthetic.run()
    state = run.state()
    after, metrics = run.train_step(state, run.batches(0, 1)[0])
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(metrics))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(after))


@pytest.mark.parametrize(
    "shape", [synthetic.EIGHT, pytest.param((4, 2, 1), marks=pytest.mark.slow)]
)
def test_zero1_changes_where_moments_lie_and_no_update(shape):
    whole, cut = synthetic.run(shape), synthetic.run(shape, zero1=True)
    first, curve = whole.train(whole.state(), 0, 3)
    second, other = cut.train(cut.state(), 0, 3)
    for a, b in zip(curve, other, strict=True):
        assert_close(a, b, rtol=2e-5, atol=1e-6)
    assert_close(first.opt_state, second.opt_state, rtol=1e-3, atol=1e-6)
    before, after = optim.flatten(first.params), optim.flatten(second.params)
    for path, leaf in before.items():
        # What attention adds to all keys alike changes nothing: the gradient is noise.
        if not path.endswith("key/bias"):
            np.testing.assert_allclose(leaf, after[path], rtol=1e-4, atol=1e-5)
    path = "decoder/blocks/mlp/up/kernel"
    moment = optim.flatten(second.opt_state[1].mu)[path]
    assert moment.addressable_shards[0].data.size == moment.size // 8
    shard = after[path].addressable_shards[0].data
    assert shard.shape == before[path].addressable_shards[0].data.shape


@pytest.mark.parametrize(
    "optim",
    [
        pytest.param({}, id="plain"),
        pytest.param(
            {"zero1": True, "moments_dtype": "bfloat16", "accumulate": 2},
            id="small",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_all_of_the_state_is_written_in_place(optim):
    run = synthetic.run(synthetic.EIGHT, **optim)
    state = step.abstract_state(run.model, run.config, run.mesh)
    held = sum(
        np.prod(leaf.sharding.shard_shape(leaf.shape), dtype=int) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(state)
    )
    assert run.train_step.memory_analysis().alias_size_in_bytes == held


@pytest.mark.slow
def test_a_run_with_small_moments_learns_as_one_with_whole_ones():
    whole = synthetic.run(synthetic.EIGHT)
    small = synthetic.run(
        synthetic.EIGHT, zero1=True, moments_dtype="bfloat16", accumulate=2
    )
    _, curve = whole.train(whole.state(), 0, 8)
    _, other = small.train(small.state(), 0, 8)
    losses = synthetic.losses(other)
    np.testing.assert_allclose(losses, synthetic.losses(curve), rtol=2e-3)
    assert losses[0] == pytest.approx(synthetic.losses(curve)[0], rel=1e-5)


def gradients_of_kernels(reduce_dtype: str) -> dict[str, jax.Array]:
    """The gradients of a step whose products are bfloat16, by path."""
    config = synthetic.config(
        reduce_dtype=reduce_dtype, b1=0.0, clip_norm=1e9, frozen=("^vit/",)
    )
    config.model.dtype = "bfloat16"
    made = synthetic.lower(config, synthetic.EIGHT).compile()
    run = synthetic.Run(
        config, synthetic.mesh(synthetic.EIGHT), vlm.build(config.model), made
    )
    state = step.init_state(run.model, config, run.mesh, jax.random.key(0))
    state, _ = run.train(state, 0, 1)
    return optim.flatten(jax.device_get(state.opt_state[1].mu))


@pytest.mark.slow
def test_gradients_of_linear_layers_are_rounded_before_the_sum_or_never():
    pattern = re.compile("decoder/blocks/(attention|mlp)/.*/kernel")
    rounded, whole = map(gradients_of_kernels, ("model", "float32"))
    found = 0
    for path in filter(pattern.match, whole):
        found += 1
        low, high = rounded[path], whole[path]
        assert np.linalg.norm(low - high) < 0.02 * np.linalg.norm(high), path
        half = high.astype(jnp.bfloat16).astype(np.float32)
        assert (half != high).mean() > 0.5, path
    assert found == 7


def test_patterns_that_match_nothing_are_refused():
    config = synthetic.config(frozen=("vitt",))
    with pytest.raises(ValueError, match=r"optim.frozen: 'vitt' matches no parameter"):
        synthetic.lower(config)


def test_the_eval_step_gives_the_loss_of_every_token():
    run = synthetic.run()
    state, batch = run.state(), synthetic.batch(run.config, seed=1)
    eval_step = step.make_eval_step(run.model, run.config, run.mesh)
    losses = eval_step(state.params, batch)
    _, nll = jax.jit(lambda p: plain_loss(run, p, batch))(state.params)
    np.testing.assert_allclose(losses.nll_ZRT, nll, rtol=1e-5, atol=1e-5)
    assert losses.hit_ZRT.dtype == np.bool_

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax import optim

PEAK, RATIO, WARMUP, STEPS = 3e-4, 0.1, 10, 100


def small_params() -> optim.Params:
    keys = iter(jax.random.split(jax.random.key(0), 9))
    normal = jax.random.normal
    return {
        "decoder": {
            "blocks": {
                "mlp": {"up": {"kernel": normal(next(keys), (2, 3, 4))}},
                "norm_mlp": {"scale": normal(next(keys), (2, 3))},
            },
            "embedding": normal(next(keys), (5, 3)),
        },
        "connector": {"queries": normal(next(keys), (2, 3))},
        "vit": {
            "patch_embed": {
                "kernel": normal(next(keys), (4, 3)),
                "bias": normal(next(keys), (3,)),
            },
            "positions": normal(next(keys), (4, 3)),
        },
    }


def test_schedule_rises_to_the_peak_and_ends_at_its_share():
    rate = optim.schedule(PEAK, RATIO, WARMUP, STEPS)
    expected = []
    for step in range(STEPS):
        update = step + 1
        if update <= WARMUP:
            expected.append(PEAK * update / WARMUP)
        else:
            done = (update - WARMUP) / (STEPS - WARMUP)
            cosine = (1 + np.cos(np.pi * done)) / 2
            expected.append(PEAK * (RATIO + (1 - RATIO) * cosine))
    rates = jax.vmap(rate)(jnp.arange(STEPS))
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    assert np.argmax(rates) == WARMUP - 1
    np.testing.assert_allclose(rates[-1], RATIO * PEAK, rtol=1e-6)


@pytest.mark.parametrize("warmup", [0, 7])
def test_schedule_without_warmup_or_cosine_stays_finite(warmup):
    rates = jax.vmap(optim.schedule(PEAK, RATIO, warmup, 7))(jnp.arange(9))
    assert np.all(np.isfinite(rates))
    assert np.all((rates > 0) & (rates <= np.float32(PEAK)))


def test_decay_shrinks_matrices_only():
    decayed = [path for path in optim.flatten(small_params()) if optim.decays(path)]
    assert sorted(decayed) == [
        "decoder/blocks/mlp/up/kernel",
        "decoder/embedding",
        "vit/patch_embed/kernel",
    ]


@pytest.mark.parametrize(
    "name",
    ["class_token", "class_position", "registers", "positions",
     "blocks/scale_mlp/scale", "blocks/attention/query/bias", "norm_embedding/scale"],
)  # fmt: skip
def test_an_encoder_s_tokens_positions_and_scales_do_not_decay(name):
    assert not optim.decays(f"vit/{name}")
    assert not optim.decays(f"second_vit/{name}")
    assert optim.decays("second_vit/blocks/mlp/gate/kernel")


def numpy_adamw(params, gradients_of_steps, rules, rate, decay, clip):
    """Decoupled AdamW, one parameter and one step after the other, in float64."""
    b1, b2, eps = 0.9, 0.95, 1e-8
    params = {path: np.float64(value) for path, value in params.items()}
    moments = dict.fromkeys(params, (0.0, 0.0))
    for step, gradients in enumerate(gradients_of_steps):
        norm = np.sqrt(sum(np.sum(np.float64(g) ** 2) for g in gradients.values()))
        for path, gradient in gradients.items():
            gradient = np.float64(gradient) * min(1.0, clip / norm)
            mean = b1 * moments[path][0] + (1 - b1) * gradient
            square = b2 * moments[path][1] + (1 - b2) * gradient**2
            moments[path] = (mean, square)
            update = mean / (1 - b1 ** (step + 1))
            update = update / (np.sqrt(square / (1 - b2 ** (step + 1))) + eps)
            if path.endswith(("kernel", "embedding")):
                update = update + decay * params[path]
            share = next((m for start, m in rules if path.startswith(start)), 1.0)
            params[path] = params[path] - rate(step) * share * update
    return params


def test_updates_equal_a_numpy_loop():
    params = small_params()
    keys = jax.random.split(jax.random.key(1), 4)
    scales = (0.01, 10.0, 1.0, 0.1)  # gradients under and over the clipping norm
    gradients_of_steps = [
        jax.tree.map(
            lambda p, k=key, s=scale: s * jax.random.normal(k, p.shape), params
        )
        for key, scale in zip(keys, scales, strict=True)
    ]
    rules = (("vit/patch", 0.25), ("vit", 4.0), ("connector", 0.0))
    rate = optim.schedule(0.01, RATIO, 2, 4)
    optimizer = optim.adamw(
        rate, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0, rules=rules
    )
    state, updated = optimizer.init(params), params
    for gradients in gradients_of_steps:
        updates, state = optimizer.update(gradients, state, updated)
        updated = optax.apply_updates(updated, updates)
    expected = numpy_adamw(
        optim.flatten(params),
        [optim.flatten(gradients) for gradients in gradients_of_steps],
        rules, rate=lambda step: float(rate(step)), decay=0.1, clip=1.0,
    )  # fmt: skip
    for path, value in optim.flatten(updated).items():
        np.testing.assert_allclose(value, expected[path], rtol=2e-6, atol=2e-6)
    np.testing.assert_array_equal(
        updated["connector"]["queries"], params["connector"]["queries"]
    )


def test_partition_and_merge_lose_nothing():
    params = small_params()
    trainable, frozen = optim.partition(params, ("^vit/", "embedding$"))
    assert set(optim.flatten(frozen)) == {
        "decoder/embedding",
        "vit/patch_embed/bias",
        "vit/patch_embed/kernel",
        "vit/positions",
    }
    assert "vit" not in trainable
    merged = optim.merge(trainable, frozen)
    assert jax.tree.structure(merged) == jax.tree.structure(params)
    assert optim.flatten(merged).keys() == optim.flatten(params).keys()
    jax.tree.map(np.testing.assert_array_equal, merged, params)


def test_frozen_parts_have_no_moments():
    trainable, _ = optim.partition(small_params(), ("^vit/",))
    rate = optim.schedule(PEAK, RATIO, WARMUP, STEPS)
    optimizer = optim.adamw(
        rate, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0
    )
    paths = optim.flatten(optimizer.init(trainable))
    assert not any("vit" in path for path in paths)
    assert sum(path.endswith("decoder/embedding") for path in paths) == 2


def test_patterns_that_match_nothing_or_everything_are_refused():
    with pytest.raises(ValueError, match="'decodr' matches no parameter"):
        optim.partition(small_params(), ("decodr",))
    with pytest.raises(ValueError, match="leaves no parameter to train"):
        optim.partition(small_params(), (".",))


def half_adamw(b2: float) -> optax.GradientTransformation:
    return optim.adamw(
        lambda step: jnp.float32(0.01), b1=0.9, b2=b2, eps=1e-8, weight_decay=0.1,
        clip_norm=1e9, moments_dtype="bfloat16",
    )  # fmt: skip


def test_both_moments_are_kept_in_bfloat16_and_parameters_in_float32():
    params = small_params()
    optimizer = half_adamw(0.95)
    state = optimizer.init(params)
    whole = optim.adamw(
        lambda step: jnp.float32(0.01), b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1,
        clip_norm=1e9,
    )  # fmt: skip
    assert jax.tree.structure(state) == jax.tree.structure(whole.init(params))
    updates, state = optimizer.update(params, state, params)
    for moment in (state[1].mu, state[1].nu):
        assert {leaf.dtype.name for leaf in jax.tree.leaves(moment)} == {"bfloat16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(updates)} == {"float32"}
    # Of the first update nothing was rounded yet.
    first, _ = whole.update(params, whole.init(params), params)
    jax.tree.map(np.testing.assert_array_equal, updates, first)


@pytest.mark.parametrize("b2", [0.95, 0.999])
def test_moments_in_bfloat16_follow_gradients_that_become_small(b2):
    """Rounded to the nearest, the second moment would never fall where b2=0.999."""
    optimizer = half_adamw(b2)
    params = {"decoder": {"unembed": jnp.ones((64, 64))}}
    state = optimizer.init(params)
    update = jax.jit(
        lambda gradients, state: optimizer.update(gradients, state, params)
    )
    steps = int(3 / (1 - b2))
    for step in range(2 * steps):
        size = 1.0 if step < steps else 0.1
        gradients = jax.tree.map(lambda p, s=size: s * jnp.ones_like(p), params)
        _, state = update(gradients, state)
    (mu,), (nu,) = jax.tree.leaves(state[1].mu), jax.tree.leaves(state[1].nu)

    def expected(decay: float, first: float, second: float) -> float:
        return (1 - decay**steps) * (decay**steps * first + second)

    mean = mu.astype(jnp.float32).mean(), nu.astype(jnp.float32).mean()
    np.testing.assert_allclose(mean[0], expected(0.9, 1.0, 0.1), rtol=0.01)
    np.testing.assert_allclose(mean[1], expected(b2, 1.0, 0.01), rtol=0.02)


def by_chance(x, count: int) -> np.ndarray:
    """Each number rounded so many times by chance, [count, numbers]."""
    keys = jax.random.split(jax.random.key(0), count)
    x = jnp.asarray(x, jnp.float32)
    found = jax.vmap(lambda key: optim.rounded(x, key))(keys)
    assert found.dtype == jnp.bfloat16
    return np.asarray(found.astype(jnp.float32))


def test_a_number_becomes_one_of_its_neighbours_and_itself_on_average():
    # From 1 to 2, bfloat16 are 1 / 128 apart.
    low, shares = 1 + 3 / 128, np.array([0.0, 0.1, 0.5, 0.9])
    for sign in (1, -1):
        found = by_chance(sign * (low + shares / 128), 4000) * sign
        assert set(np.unique(found)) == {low, low + 1 / 128}
        ups = (found > low).mean(axis=0)
        assert ups[0] == 0
        np.testing.assert_allclose(ups, shares, atol=0.03)  # 4 standard deviations


def test_numbers_of_all_sizes_keep_their_mean():
    x = np.random.default_rng(0).standard_normal(64) * 10.0 ** np.arange(-32, 32)
    mean = by_chance(x, 4000).astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(mean, x.astype(np.float32), rtol=3e-4)


def test_what_is_not_finite_stays_so():
    found = by_chance([np.inf, -np.inf, np.nan, 0.0, -0.0], 50)
    np.testing.assert_array_equal(
        found, np.tile([np.inf, -np.inf, np.nan, 0, 0], (50, 1))
    )
    every_nan = np.array([0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(by_chance(every_nan, 50)).all()


def test_the_same_key_rounds_the_same_way():
    x = np.random.default_rng(0).standard_normal(1000)
    np.testing.assert_array_equal(by_chance(x, 2), by_chance(x, 2))
    assert (by_chance(x, 2)[0] != by_chance(x, 2)[1]).any()

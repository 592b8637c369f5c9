import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.ops import rope


def random(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def test_each_pair_turns_by_its_angle():
    x, positions = random(2, 5, 3, 8), jnp.array([[0, 1, 2, 3, 4], [7, 0, 1, 2, 100]])
    turned = rope.rotate(x, rope.rotation(positions, 8, 100.0))
    for b, t, n, i in np.ndindex(2, 5, 3, 4):
        angle = positions[b, t] * 100.0 ** (-2 * i / 8)
        pair = complex(x[b, t, n, i], x[b, t, n, i + 4]) * np.exp(1j * angle)
        np.testing.assert_allclose(turned[b, t, n, i], pair.real, atol=1e-5)
        np.testing.assert_allclose(turned[b, t, n, i + 4], pair.imag, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_halves_that_swap_by_a_product_give_the_same_values_and_gradients(dtype):
    x, weights = random(2, 5, 3, 8).astype(dtype), random(2, 5, 3, 8)
    turn = rope.rotation(jnp.array([[0, 1, 2, 3, 4], [7, 0, 1, 2, 100]]), 8, 100.0)

    def of(rotate):
        def total(x):
            out = rotate(x, turn)
            return jnp.sum(out.astype(jnp.float32) * weights), out

        return jax.grad(total, has_aux=True)(x)

    near = {"float32": 1e-6, "bfloat16": 0.02}[dtype]  # of numbers up to 4
    for found, expected in zip(of(rope.rotate_by_products), of(rope.rotate)):
        assert found.dtype == dtype
        a, b = (np.asarray(y, np.float32) for y in (found, expected))
        np.testing.assert_allclose(a, b, rtol=0, atol=near)


def test_position_zero_changes_nothing():
    x = random(1, 3, 2, 4)
    turned = rope.rotate(x, rope.rotation(jnp.zeros((1, 3), int), 4, 1e4))
    np.testing.assert_array_equal(turned, x)


def test_products_depend_on_distances_only():
    q, k = random(1, 6, 1, 8), random(1, 6, 1, 8)[::-1]

    def products(first):
        turn = rope.rotation(first + jnp.arange(6)[None], 8, 1e4)
        return jnp.einsum("BTNH,BSNH->BTS", rope.rotate(q, turn), rope.rotate(k, turn))

    np.testing.assert_allclose(products(0), products(40), atol=1e-4)


def test_angles_are_float32_and_values_keep_their_type():
    turn = rope.rotation(jnp.array([[4095]]), 4, 1e4)
    assert turn.cos.dtype == jnp.float32
    np.testing.assert_allclose(turn.cos[0, 0, 0], np.cos(4095.0), atol=1e-4)
    assert rope.rotate(jnp.ones((1, 1, 1, 4), jnp.bfloat16), turn).dtype == jnp.bfloat16


def speeds(scaling, size=64, theta=1e4):
    """Radians a position of each pair: those of position 1, all below pi."""
    turn = rope.rotation(jnp.array([1]), size, theta, scaling)
    return np.arctan2(turn.sin[0], turn.cos[0])


def test_linear_scaling_divides_positions():
    scaled = rope.rotation(
        jnp.array([[8, 80]]), 16, 1e4, rope.Scaling("linear", factor=4.0)
    )
    plain = rope.rotation(jnp.array([[2, 20]]), 16, 1e4)
    np.testing.assert_allclose(scaled.cos, plain.cos, atol=1e-5)
    np.testing.assert_allclose(scaled.sin, plain.sin, atol=1e-5)


@pytest.mark.parametrize(("kind", "fast"), [("llama3", 4.0), ("yarn", 32.0)])
def test_fast_pairs_stay_and_slow_ones_are_divided(kind, fast):
    scaling = rope.Scaling(kind, 8.0, original_length=1024, slow=1.0, fast=fast)
    plain, scaled = speeds(None), speeds(scaling)
    turns = 1024 * plain / (2 * np.pi)
    stay, divided = turns > fast * 1.4, turns < 1 / 1.4  # yarn rounds to whole pairs
    assert stay.sum() > 3
    assert divided.sum() > 3
    np.testing.assert_allclose(scaled[stay], plain[stay], rtol=1e-5)
    np.testing.assert_allclose(scaled[divided], plain[divided] / 8, rtol=1e-5)
    between = scaled[~stay & ~divided] / plain[~stay & ~divided]
    assert (np.diff(between) <= 1e-6).all()
    assert ((between > 0.125 - 1e-6) & (between < 1 + 1e-6)).all()


def test_yarn_sharpens_attention_and_no_scaling_changes_nothing():
    positions = jnp.arange(5)
    turn = rope.rotation(positions, 8, 1e4, rope.Scaling("yarn", 4.0, 16, 1.0, 32.0))
    length = np.hypot(turn.cos, turn.sin)
    np.testing.assert_allclose(length, 0.1 * np.log(4.0) + 1, rtol=1e-6)
    none, plain = (
        rope.rotation(positions, 8, 1e4, scaling) for scaling in (rope.Scaling(), None)
    )
    np.testing.assert_array_equal(none.cos, plain.cos)
    np.testing.assert_array_equal(none.sin, plain.sin)

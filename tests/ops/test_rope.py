import jax.numpy as jnp
import numpy as np

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

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.ops import rounding


def rounded(x, count: int) -> np.ndarray:
    """Each number rounded so many times by chance, [count, numbers]."""
    keys = jax.random.split(jax.random.key(0), count)
    x = jnp.asarray(x, jnp.float32)
    found = jax.vmap(lambda key: rounding.stochastic(x, key))(keys)
    assert found.dtype == jnp.bfloat16
    return np.asarray(found.astype(jnp.float32))


def test_a_number_becomes_one_of_its_neighbours_and_itself_on_average():
    # From 1 to 2, bfloat16 are 1 / 128 apart.
    low, shares = 1 + 3 / 128, np.array([0.0, 0.1, 0.5, 0.9])
    for sign in (1, -1):
        found = rounded(sign * (low + shares / 128), 4000) * sign
        assert set(np.unique(found)) == {low, low + 1 / 128}
        ups = (found > low).mean(axis=0)
        assert ups[0] == 0
        np.testing.assert_allclose(ups, shares, atol=0.03)  # 4 standard deviations


def test_numbers_of_all_sizes_keep_their_mean():
    x = np.random.default_rng(0).standard_normal(64) * 10.0 ** np.arange(-32, 32)
    mean = rounded(x, 4000).astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(mean, x.astype(np.float32), rtol=3e-4)


def test_what_is_not_finite_stays_so():
    found = rounded([np.inf, -np.inf, np.nan, 0.0, -0.0], 50)
    np.testing.assert_array_equal(
        found, np.tile([np.inf, -np.inf, np.nan, 0, 0], (50, 1))
    )
    every_nan = np.array([0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(rounded(every_nan, 50)).all()


def test_the_same_key_rounds_the_same_way():
    x = np.random.default_rng(0).standard_normal(1000)
    np.testing.assert_array_equal(rounded(x, 2), rounded(x, 2))
    assert (rounded(x, 2)[0] != rounded(x, 2)[1]).any()

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.ops import pooling

SIZES = [(27, 12), (27, 8), (24, 12), (24, 8), (16, 12), (4, 4), (4, 3), (5, 1), (3, 7)]


@pytest.mark.parametrize(("size", "places"), SIZES)
def test_means_are_of_floor_to_ceil_windows(size, places):
    x = np.random.default_rng(0).normal(size=(1, 2, size, size, 3)).astype(np.float32)
    out = jax.jit(pooling.adaptive_average, static_argnums=1)(x, places)
    expected = np.empty((1, 2, places, places, 3))
    for row in range(places):
        for column in range(places):
            top, left = row * size // places, column * size // places
            bottom = -(-(row + 1) * size // places)
            right = -(-(column + 1) * size // places)
            square = x[:, :, top:bottom, left:right]
            expected[:, :, row, column] = square.mean((2, 3))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_27_patches_become_12_windows_of_3():
    inside = pooling.windows(27, 12)
    np.testing.assert_array_equal(inside.sum(axis=1), 3)
    np.testing.assert_array_equal(np.argmax(inside, axis=1)[:4], [0, 2, 4, 6])


def test_bfloat16_means_of_equal_numbers_are_those_numbers():
    """A third is no bfloat16: sums are taken exactly, and divided in float32."""
    x = jnp.full((1, 1, 27, 27, 1), 1.5, jnp.bfloat16)
    out = pooling.adaptive_average(x, 12)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(out, 1.5)


@pytest.mark.extra
def test_windows_are_pytorch_s_for_all_small_sizes():
    torch = pytest.importorskip("torch")
    for size in range(1, 28):
        for places in range(1, 28):
            pool = torch.nn.AdaptiveAvgPool1d(places)
            theirs = pool(torch.eye(size)[None])[0].numpy().T
            ours = pooling.windows(size, places)
            means = ours / ours.sum(axis=1, keepdims=True)
            np.testing.assert_allclose(means, theirs, rtol=1e-6, err_msg=f"{size}")


@pytest.mark.extra
@pytest.mark.parametrize(("size", "places"), [(27, 12), (5, 7), (24, 8)])
def test_means_and_gradients_are_pytorch_s(size, places):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 1, size, size, 2)).astype(np.float32)
    weight = rng.normal(size=(places, places, 2)).astype(np.float32)
    theirs = torch.tensor(x[0, 0].transpose(2, 0, 1)[None], requires_grad=True)
    pooled = torch.nn.AdaptiveAvgPool2d((places, places))(theirs)
    (pooled[0].permute(1, 2, 0) * torch.tensor(weight)).sum().backward()
    out, back = jax.vjp(lambda x: pooling.adaptive_average(x, places), x)
    (slope,) = back(jnp.asarray(weight[None, None]))
    expected = pooled[0].detach().permute(1, 2, 0)
    np.testing.assert_allclose(out[0, 0], expected, rtol=1e-4, atol=1e-6)
    expected = theirs.grad[0].permute(1, 2, 0)
    np.testing.assert_allclose(slope[0, 0], expected, rtol=1e-4, atol=1e-6)

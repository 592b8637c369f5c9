"""Products of 8 bits, against loops over whole numbers and against float32."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.ops import quantized

INT8, FLOAT, E4, E5 = "int8", "float32", "float8_e4m3fn", "float8_e5m2"


@pytest.fixture(scope="module")
def arrays():
    """x [4, 32, 6, 16], a kernel [6, 16, 5, 24], and a gradient of their product."""
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = (4, 32, 6, 16), (6, 16, 5, 24), (4, 32, 5, 24)
    return tuple(jax.random.normal(key, shape) for key, shape in zip(keys, shapes))


def gradients(arrays, kind, dtype="float32"):
    """y, dx and dk of a kind, as float32."""
    x, kernel, dy = (x.astype(dtype) for x in arrays)
    y, pull = jax.vjp(lambda x, k: quantized.tensordot(x, k, 2, kind), x, kernel)
    assert {leaf.dtype for leaf in (y, *pull(dy))} == {jnp.dtype(dtype)}
    return [np.asarray(leaf, np.float32) for leaf in (y, *pull(dy))]


def steps_of(x, axes):
    """Whole multiples and their steps: int8, by the largest along these axes."""
    steps = np.abs(x).max(axes, keepdims=True) / 127
    return np.round(x / steps).astype(np.int64), steps


def test_int8_is_a_product_of_whole_numbers_times_the_steps(arrays):
    x, kernel, dy = (np.asarray(array, np.float32) for array in arrays)
    x8, x_steps = steps_of(x, (2, 3))
    k8, k_steps = steps_of(kernel, (0, 1))
    y, dx, dk = gradients(arrays, "int8")
    sums = np.tensordot(x8, k8, 2) * x_steps * k_steps[0, 0]
    np.testing.assert_allclose(y, sums, rtol=1e-5, atol=1e-5)
    d8, d_steps = steps_of(dy * k_steps[0, 0], (2, 3))
    sums = np.tensordot(d8, k8, ((2, 3), (2, 3))) * d_steps
    np.testing.assert_allclose(dx, sums, rtol=1e-4, atol=1e-4)
    sums = np.tensordot(x8 * x_steps, dy, ((0, 1), (0, 1)))
    np.testing.assert_allclose(dk, sums, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("kind", "least"), [("int8", 0.9998), ("fp8", 0.998)])
def test_results_and_gradients_are_near_those_of_float32_and_not_equal(
    arrays, kind, least, dtype
):
    for exact, got in zip(gradients(arrays, "none"), gradients(arrays, kind, dtype)):
        a, b = exact.ravel(), got.ravel()
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > least
        assert not np.allclose(a, b, rtol=1e-3, atol=0)
        assert np.linalg.norm(b) == pytest.approx(np.linalg.norm(a), rel=0.01)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", [(FLOAT, FLOAT)] * 3),
        ("int8", [(INT8, INT8), (INT8, INT8), (FLOAT, FLOAT)]),
        ("fp8", [(E4, E4), (E5, E4), (E4, E5)]),
    ],
)
def test_operands_have_8_bits(arrays, kind, expected):
    def step(x, kernel, dy):
        y, pull = jax.vjp(lambda x, k: quantized.tensordot(x, k, 2, kind), x, kernel)
        return y, pull(dy)

    equations = jax.make_jaxpr(step)(*arrays).jaxpr.eqns
    products = [e for e in equations if e.primitive.name == "dot_general"]
    found = [tuple(v.aval.dtype.name for v in e.invars) for e in products]
    assert sorted(found) == sorted(expected)
    for each in products:
        assert each.outvars[0].aval.dtype.itemsize == 4


@pytest.mark.parametrize("kind", quantized.KINDS)
def test_a_row_has_steps_of_its_own_and_zeros_stay_zeros(arrays, kind):
    x, kernel, dy = arrays
    x = x.at[0, 0].multiply(1024).at[1, 1].set(0)
    dy = dy.at[0, 0].multiply(1 / 1024).at[1, 1].set(0)
    before, after = gradients(arrays, kind), gradients((x, kernel, dy), kind)
    kept = np.ones((4, 32), bool)
    kept[0, 0] = kept[1, 1] = False
    for index, factor in ((0, 1024), (1, 1 / 1024)):  # y and dx
        np.testing.assert_array_equal(after[index][kept], before[index][kept])
        np.testing.assert_array_equal(after[index][0, 0], factor * before[index][0, 0])
        assert not after[index][1, 1].any()
    assert np.isfinite(after[2]).all()


def test_a_missing_library_is_one_line_that_says_what_to_install(monkeypatch):
    quantized.require("model.vit.quantization")
    monkeypatch.setitem(sys.modules, "qwix", None)
    with pytest.raises(ValueError, match=r"model\.vit\.quantization: .* qwix") as error:
        quantized.require("model.vit.quantization")
    assert "pip install 'mmjax[quantization]'" in str(error.value)
    assert "\n" not in str(error.value)

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.ops import pointwise


def random(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def test_layer_norm_has_the_mean_and_deviation_it_is_told():
    out = pointwise.layer_norm(
        3 + 5 * random(4, 64), 2 * jnp.ones(64), jnp.ones(64), 0.0
    )
    np.testing.assert_allclose(out.mean(-1), 1, atol=1e-5)
    np.testing.assert_allclose(out.std(-1), 2, atol=1e-5)


@pytest.mark.parametrize("mean", [0, 1, 30])
def test_layer_norm_errs_by_no_more_than_its_bound(mean):
    x = np.random.default_rng(0).normal(mean, 1, (64, 1280))
    wanted = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    ones, zeros = jnp.ones(1280), jnp.zeros(1280)
    found = pointwise.layer_norm(jnp.asarray(x, jnp.float32), ones, zeros, 0.0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * (1 + mean**2 / 10))


def test_rms_norm_divides_by_the_root_of_the_mean_square():
    x = random(4, 64)
    out = pointwise.rms_norm(x, jnp.full(64, 3.0), 1e-6)
    np.testing.assert_allclose(
        out, 3 * x / np.sqrt((x**2).mean(-1, keepdims=True)), rtol=1e-4
    )


def test_norms_of_bfloat16_have_float32_statistics():
    x = jnp.full((1, 4096), 1.0, jnp.bfloat16)
    out = pointwise.rms_norm(x, jnp.ones(4096), 0.0)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(out, 1)  # 4096 ones don't add up in bfloat16


def test_activations_are_their_formulas():
    x = random(100)
    normal = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    np.testing.assert_allclose(pointwise.gelu(x), x * normal, atol=1e-6)
    logistic = 1 / (1 + np.exp(-1.702 * x))
    np.testing.assert_allclose(pointwise.quick_gelu(x), x * logistic, atol=1e-6)
    gated = x / (1 + np.exp(-x)) * x[::-1]
    np.testing.assert_allclose(pointwise.GATES["silu"](x, x[::-1]), gated, atol=1e-6)
    near_normal = (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
    gated = x * near_normal * x[::-1]
    np.testing.assert_allclose(
        pointwise.GATES["gelu_tanh"](x, x[::-1]), gated, atol=1e-6
    )


def test_gradients_of_a_gate_are_those_of_its_formula():
    gate, up, weight = random(3, 50)
    for name, made in pointwise.GATES.items():

        def plain(gate, up, activation=pointwise.ACTIVATIONS[name]):
            return activation(gate) * up

        def loss(gated, gate, up):
            return (weight * gated(gate, up)).sum()

        found, wanted = (
            jax.grad(functools.partial(loss, gated), argnums=(0, 1))(gate, up)
            for gated in (made, plain)
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_gradient_of_a_bias_is_the_float32_sum_of_those_of_its_outputs(dtype):
    y, weight = random(2, 3, 300, 4, 8).astype(dtype), random(3, 300, 4, 8)
    weight, bias = weight.astype(dtype), random(4, 8)

    def loss(bias):
        return (weight * pointwise.add_bias(y, bias)).astype(jnp.float32).sum()

    found, wanted = jax.grad(loss)(bias), 2 * weight.astype(jnp.float32).sum((0, 1))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(pointwise.add_bias(y, bias), y + bias.astype(dtype))

"""Attention's kernels beside the reference: inputs, and what all of them must hold."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.ops import attention


def inputs(tokens, heads=4, kv_heads=2, size=16):
    rng = np.random.default_rng(0)
    shapes = [(2, tokens, n, size) for n in (heads, kv_heads, kv_heads)]
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def documents(tokens):
    rng = np.random.default_rng(1)
    return jnp.asarray(np.sort(rng.integers(0, 3, (2, tokens))), jnp.int32)


def by_reference(q, k, v, segments, causal, **options):
    return attention.attend(q, k, v, segments, causal, "reference", 0, **options)


def assert_equal(by_kernel, tokens, segments, causal, heads=(4, 2), size=16, **options):
    """The kernel's attention is the reference's, in values and gradients."""
    q, k, v = inputs(tokens, *heads, size)
    weights = np.random.default_rng(2).normal(size=q.shape).astype(np.float32)

    def of(attend):
        def total(q, k, v):
            out = attend(q, k, v, segments, causal, **options)
            return jnp.sum(out * weights), out

        return jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(q, k, v)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        of(by_kernel),
        of(by_reference),
    )


def assert_nothing_leaks(by_kernel):
    """Nothing passes between documents or from the future."""
    q, k, v = inputs(130)
    segments = documents(130)

    def one(k, v, place):
        return jnp.sum(jnp.sin(by_kernel(q, k, v, segments, True)[0, place]))

    gradient = jax.jit(jax.grad(one, argnums=(0, 1)), static_argnums=2)
    row = np.asarray(segments)[0]
    for place in 70, 129:
        seen = (row == row[place]) & (np.arange(130) <= place)
        assert 1 < seen.sum() < 130
        d_k, d_v = (np.abs(d[0]).sum((1, 2)) > 0 for d in gradient(k, v, place))
        np.testing.assert_array_equal(d_k, seen)
        np.testing.assert_array_equal(d_v, seen)

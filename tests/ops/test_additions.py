import jax
import jax.numpy as jnp
import numpy as np

from mmjax.ops import additions


def sums(function, *arguments):
    """The axes of the function's sums, those of its inner functions included."""
    text = str(jax.make_jaxpr(function)(*arguments))
    return text.count("reduce_sum")


def function(x, y):
    parts = {"first": jax.jit(lambda x: x.sum(0))(x), "last": y.sum(-1)}
    return parts, jnp.tanh(x).sum(0) + 2


def test_a_rewritten_function_gives_the_same_without_sums_over_first_axes():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 4, 5, 6)).astype(np.float32)
    rewritten = additions.of(function)
    assert sums(function, x, y) == 3
    assert sums(rewritten, x, y) == 1
    found, wanted = rewritten(x, y), function(x, y)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_allclose, found, wanted)


def test_parts_are_converted_one_by_one():
    """An array of all in the wider type would be one that several additions read."""
    parts = jnp.ones((4, 5, 6), jnp.bfloat16)
    text = str(jax.make_jaxpr(additions.of(lambda x: x.sum(0)))(parts))
    assert text.count("f32[5,6]") > 4
    used = jax.jit(additions.of(lambda x: x.sum(0))).lower(parts).as_text()
    assert "4x5x6xf32" not in used


def test_functions_that_close_over_traced_arrays_are_rewritten_too():
    x, y = jnp.ones((3, 4)), jnp.arange(3.0)

    @jax.jit
    def pulled(x, y):
        _, pull = jax.vjp(lambda z: jnp.outer(y, z), x[0])
        return additions.of(pull)(x * y[:, None])

    wanted = jax.vjp(lambda z: jnp.outer(y, z), x[0])[1](x * y[:, None])
    jax.tree.map(np.testing.assert_allclose, pulled(x, y), wanted)


def test_what_is_left_keeps_the_names_that_it_has_in_profiles():
    def named(x):
        with jax.named_scope("inner"):
            return jnp.tanh(x)

    lowered = jax.jit(additions.of(jax.jit(named))).lower(jnp.ones(3))
    assert "inner/tanh" in lowered.as_text(debug_info=True)

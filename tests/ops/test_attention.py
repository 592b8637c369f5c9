import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.ops import attention

pytestmark = pytest.mark.usefixtures("quick_compilation")


ANYWHERE = ("blocked", "reference")  # the backends that are no kernel of TPUs
# Two rows of 10: documents of 3, 4 and 2 and one of padding; one whole document.
SEGMENTS = np.array([[1, 1, 1, 2, 2, 2, 2, 3, 3, 0], [1] * 10], np.int32)
DOCUMENTS = jnp.asarray(SEGMENTS)


def inputs(queries=10, keys=10, heads=4, kv_heads=2, dtype=np.float32):
    rng = np.random.default_rng(0)
    shapes = [(queries, heads), (keys, kv_heads), (keys, kv_heads)]
    return [
        jnp.asarray(rng.normal(size=(2, length, n, 6)), dtype) for length, n in shapes
    ]


# Ways to limit and to score that a decoder may ask for, alone and together.
OPTIONS = {
    "window": {"window": 3},
    "window of itself": {"window": 1},
    "softcap": {"softcap": 0.7},
    "scale": {"scale": 1.3},
    "all": {"window": 5, "scale": 0.9, "softcap": 1.1},
}


def by_loops(
    q_BTNH, k_BSKH, v_BSKH, segments_BT, causal, window=0, scale=0.0, softcap=0.0
):
    """Attention written out: one query, one head, one visible key at a time."""
    q, k, v = (np.asarray(x, np.float64) for x in (q_BTNH, k_BSKH, v_BSKH))
    rows, tokens, heads, size = q.shape
    out = np.zeros(q.shape)
    for b, t, n in itertools.product(range(rows), range(tokens), range(heads)):
        head = n // (heads // k.shape[2])
        seen = [
            s
            for s in range(k.shape[1])
            if (segments_BT is None or SEGMENTS[b, s] == SEGMENTS[b, t])
            and (not causal or s <= t)
            and (not window or t - s < window)
        ]
        scores = np.array([q[b, t, n] @ k[b, s, head] for s in seen])
        scores = scores * (scale or 1 / np.sqrt(size))
        weights = np.exp(softcap * np.tanh(scores / softcap) if softcap else scores)
        for weight, s in zip(weights / weights.sum(), seen, strict=True):
            out[b, t, n] += weight * v[b, s, head]
    return out


@pytest.mark.parametrize("backend", ANYWHERE)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("segments", [DOCUMENTS, None], ids=["documents", "one"])
def test_every_backend_is_attention_written_out(backend, causal, segments):
    q, k, v = inputs()
    out = attention.attend(q, k, v, segments, causal, backend, block=4)
    expected = by_loops(q, k, v, segments, causal)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ANYWHERE)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_windows_scales_and_caps_are_attention_written_out(backend, options):
    q, k, v = inputs()
    out = attention.attend(q, k, v, DOCUMENTS, True, backend, block=4, **options)
    expected = by_loops(q, k, v, DOCUMENTS, True, **options)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(out - by_loops(q, k, v, DOCUMENTS, True)).max() > 1e-2


@pytest.mark.parametrize("backend", ANYWHERE)
def test_queries_may_attend_to_a_source_of_another_length(backend):
    q, k, v = inputs(queries=5, keys=9, kv_heads=4)
    out = attention.attend(q, k, v, None, False, backend, block=2)
    np.testing.assert_allclose(
        out, by_loops(q, k, v, None, False), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("block", [3, 4, 10, 512])
def test_blocks_give_the_values_and_gradients_of_the_reference(heads, block):
    q, k, v = inputs(heads=heads[0], kv_heads=heads[1])
    blocks_equal_the_reference(q, k, v, block)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("block", [3, 512])
def test_windows_scales_and_caps_keep_gradients_those_of_the_reference(options, block):
    blocks_equal_the_reference(*inputs(), block, **options)


def blocks_equal_the_reference(q, k, v, block, **options):
    weights = np.random.default_rng(1).normal(size=q.shape).astype(np.float32)

    def total(backend, q, k, v):
        out = attention.attend(q, k, v, DOCUMENTS, True, backend, block, **options)
        return jnp.sum(out * weights), out

    def of(backend):
        gradient = jax.grad(total, argnums=(1, 2, 3), has_aux=True)
        return jax.jit(gradient, static_argnums=0)(backend, q, k, v)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6),
        of("blocked"),
        of("reference"),
    )


@pytest.mark.parametrize("window", [0, 1, 3])
@pytest.mark.parametrize("backend", ANYWHERE)
def test_no_position_sees_the_future_another_document_or_beyond_its_window(
    backend, window
):
    q, k, v = inputs()
    options = {"window": window, "softcap": 5.0 if window else 0.0}

    def of_query(k, v):
        out = attention.attend(q, k, v, DOCUMENTS, True, backend, block=4, **options)
        return jnp.sum(out**2, axis=(2, 3))

    # Jacobians of each query's output by each key and each value: [B, T, B, S, ...].
    of_keys, of_values = (
        np.abs(jacobian).sum((-1, -2))
        for jacobian in jax.jit(jax.jacrev(of_query, argnums=(0, 1)))(k, v)
    )
    for b, t, other, s in np.ndindex(of_keys.shape):
        allowed = b == other and s <= t and SEGMENTS[b, t] == SEGMENTS[b, s]
        allowed = allowed and (not window or t - s < window)
        assert (of_values[b, t, other, s] > 0) == allowed
        assert allowed or of_keys[b, t, other, s] == 0


def test_blocks_of_keys_before_the_window_are_never_computed():
    q, k, v = inputs(queries=32, keys=32)

    def total(window, k):
        out = attention.attend(q, k, v, None, True, "blocked", 4, window=window)
        return jnp.sum(out)

    def scores(window):
        """The numbers of keys that blocks of 4 queries meet, forward and back."""
        text = str(jax.make_jaxpr(jax.grad(total, 1), static_argnums=0)(window, k))
        return {int(keys) for keys in re.findall(r"f32\[2,2,2,4,(\d+)\] = dot", text)}

    assert max(scores(0)) == 32
    assert max(scores(9)) == 12  # 4 queries and the 8 before the first of them
    assert max(scores(4)) == 8


@pytest.mark.parametrize("backend", ANYWHERE)
def test_a_prefix_is_seen_by_all_of_its_row_and_document(backend):
    q, k, v = inputs()
    prefix = np.array([5, 3])

    def of_query(k, v):
        out = attention.attend(
            q,
            k,
            v,
            DOCUMENTS,
            True,
            backend,
            4,
            prefix_B=jnp.asarray(prefix, jnp.int32),
        )
        return jnp.sum(out**2, axis=(2, 3))

    of_keys, of_values = (
        np.abs(jacobian).sum((-1, -2))
        for jacobian in jax.jit(jax.jacrev(of_query, argnums=(0, 1)))(k, v)
    )
    for b, t, other, s in np.ndindex(of_keys.shape):
        same = b == other and SEGMENTS[b, t] == SEGMENTS[b, s]
        allowed = same and (s <= t or s < prefix[b])
        assert (of_values[b, t, other, s] > 0) == allowed
        assert allowed or of_keys[b, t, other, s] == 0


@pytest.mark.parametrize("backend", ANYWHERE)
def test_a_prefix_of_nothing_is_causal_and_one_of_all_goes_both_ways(backend):
    q, k, v = inputs()
    weights = np.random.default_rng(1).normal(size=q.shape).astype(np.float32)

    def gradients(causal, prefix):
        def total(q, k, v):
            out = attention.attend(
                q, k, v, DOCUMENTS, causal, backend, 4, prefix_B=prefix
            )
            return jnp.sum(out * weights), out

        return jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(q, k, v)

    for prefix, causal in (0, True), (10, False):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6),
            gradients(True, jnp.full(2, prefix)),
            gradients(causal, None),
        )


@pytest.mark.parametrize("options", [{}, {"softcap": 50.0, "window": 2}])
@pytest.mark.parametrize("backend", ANYWHERE)
def test_padding_and_huge_scores_stay_finite(backend, options):
    q, k, v = inputs()
    padding = jnp.zeros_like(DOCUMENTS)

    def total(q, k, v, segments):
        out = attention.attend(q, k, v, segments, True, backend, 4, **options)
        return jnp.sum(jnp.sin(out))

    gradient = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
    for found in gradient(q, k, v, padding), gradient(q * 1e4, k, v, DOCUMENTS):
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


def test_bfloat16_blocks_are_as_near_to_float32_as_the_reference():
    exact = inputs()
    q, k, v = (x.astype(jnp.bfloat16) for x in exact)
    expected = by_loops(q, k, v, SEGMENTS, True)
    errors = {}
    for backend in ANYWHERE:
        out = attention.attend(q, k, v, DOCUMENTS, True, backend, block=4)
        assert out.dtype == jnp.bfloat16
        errors[backend] = np.abs(np.asarray(out, np.float64) - expected).max()
    assert errors["blocked"] < 1.5 * errors["reference"] < 0.05


# The keys that each query of two rows sees: some, all, none, one.
FIRST = np.array([[0, 2, 3, 7, 0], [1, 1, 0, 8, 5]], np.int32)
STOP = np.array([[4, 5, 3, 9, 9], [1, 0, 0, 9, 6]], np.int32)


@pytest.mark.parametrize("backend", ANYWHERE)
def test_a_query_sees_its_range_of_keys_and_gets_zeros_of_an_empty_one(backend):
    q, k, v = inputs(queries=5, keys=9)
    keys = attention.Range(jnp.asarray(FIRST), jnp.asarray(STOP))
    out = attention.attend(q, k, v, None, False, backend, block=2, keys=keys)
    for b, t in itertools.product(range(2), range(5)):
        here = slice(FIRST[b, t], STOP[b, t])
        if FIRST[b, t] >= STOP[b, t]:
            assert not np.any(out[b, t])
            continue
        one = by_loops(
            q[b : b + 1, t : t + 1], k[b : b + 1, here], v[b : b + 1, here], None, False
        )
        np.testing.assert_allclose(out[b, t], one[0, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ANYWHERE)
def test_nothing_passes_between_a_query_and_keys_beyond_its_range(backend):
    q, k, v = inputs(queries=5, keys=9)
    keys = attention.Range(jnp.asarray(FIRST), jnp.asarray(STOP))

    def one(q, k, v, b, t):
        out = attention.attend(q, k, v, None, False, backend, block=2, keys=keys)
        return jnp.sum(jnp.sin(out[b, t]))

    for b, t in (0, 1), (0, 2), (1, 0), (1, 3):
        d_q, d_k, d_v = jax.grad(one, argnums=(0, 1, 2))(q, k, v, b, t)
        seen = np.zeros((2, 9), bool)
        seen[b, FIRST[b, t] : STOP[b, t]] = True
        if seen[b].sum() != 1:  # of a single key softmax takes no notice
            np.testing.assert_array_equal(np.abs(d_k).sum((2, 3)) > 0, seen)
            assert (np.abs(d_q[b, t]).sum() > 0) == seen.any()
        np.testing.assert_array_equal(np.abs(d_v).sum((2, 3)) > 0, seen)
        assert all(np.isfinite(d).all() for d in (d_q, d_k, d_v))

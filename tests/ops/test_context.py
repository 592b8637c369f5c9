"""Rows cut over devices: a part of the queries, or all of them dealt, attend as one."""

import jax
import jax.numpy as jnp
import jaxprs
import numpy as np
import pytest
import synthetic
from jax.sharding import PartitionSpec
from short_form import slow_unless

from mmjax.ops import attention, context, splash
from mmjax.ops.visibility import Spread

pytestmark = pytest.mark.usefixtures("quick_compilation")

OPTIONS = {
    "documents": {},
    "window": {"window": 5},
    "capped": {"window": 9, "scale": 0.2, "softcap": 0.9},
}
BLOCKS = splash.Blocks(128, 128, 128)


def inputs(tokens, size=6):
    """Queries, keys, values, and documents that cross the borders of parts."""
    rng = np.random.default_rng(0)
    shapes = [(2, tokens, heads, size) for heads in (4, 2, 2)]
    arrays = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]
    segments = np.sort(rng.integers(1, 4, (2, tokens))).astype(np.int32)
    return *arrays, jnp.asarray(segments)


def part_of(x, part, parts):
    """Its two pieces of the second axis."""
    pieces = np.split(np.asarray(x), 2 * parts, axis=1)
    return jnp.asarray(np.concatenate([pieces[part], pieces[-1 - part]], axis=1))


def assert_parts_are_the_whole(attend, tokens, parts, **options):
    """In values and in gradients, which of keys and values are sums over parts."""
    q, k, v, segments = inputs(tokens)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=q.shape), jnp.float32)

    def whole(q, k, v):
        out = attention.attend(q, k, v, segments, True, "reference", 0, **options)
        return jnp.sum(out * weights), out

    def of_part(q, k, v, segments_BT, weights, part):
        spread = Spread(part, parts)
        out = attend(q, k, v, segments_BT, segments, spread, **options)
        return jnp.sum(out * weights), out

    gradient = jax.jit(jax.grad(whole, argnums=(0, 1, 2), has_aux=True))
    (d_q, d_k, d_v), expected = gradient(q, k, v)
    gradient = jax.jit(jax.grad(of_part, argnums=(0, 1, 2), has_aux=True))
    d_keys = d_values = 0.0
    for part in range(parts):
        own = (part_of(x, part, parts) for x in (q, segments, weights))
        own_q, own_segments, own_weights = own
        found = gradient(own_q, k, v, own_segments, own_weights, jnp.int32(part))
        (own_d_q, own_d_k, own_d_v), out = found
        assert_close(out, part_of(expected, part, parts))
        assert_close(own_d_q, part_of(d_q, part, parts))
        d_keys, d_values = d_keys + own_d_k, d_values + own_d_v
    assert_close(d_keys, d_k)
    assert_close(d_values, d_v)


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parts", slow_unless([1, 2, 3], [3]))
@pytest.mark.parametrize("backend", ["blocked", "reference"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_parts_of_a_row_attend_as_the_whole_row_does(backend, options, parts):
    def attend(q, k, v, segments_BT, segments_BS, spread, **options):
        return attention.attend(
            q, k, v, segments_BT, True, backend, 3, segments_BS=segments_BS,
            spread=spread, **options,
        )  # fmt: skip

    assert_parts_are_the_whole(attend, 24, parts, **options)


@pytest.mark.parametrize(
    "name", ["documents", pytest.param("capped", marks=pytest.mark.slow)]
)
def test_the_kernel_has_the_tables_of_its_part(name):
    def attend(q, k, v, segments, segments_BS, spread, window=0, scale=0, softcap=0):
        mask, scale = splash.Mask(True, window, softcap), scale or 6**-0.5
        return splash.attend(
            q, k, v, segments, mask, scale, BLOCKS, segments_BS,
            spread.part, spread.parts, interpret=True,
        )  # fmt: skip

    assert_parts_are_the_whole(attend, 512, 2, **OPTIONS[name])


def test_a_part_that_fills_no_register_is_refused():
    q, k, v, segments = inputs(384)
    spread = Spread(jnp.int32(0), 2)
    with pytest.raises(ValueError, match="192 of a row's tokens: must be a multiple"):
        attention.attend(
            q[:, :192], k, v, segments[:, :192], True, "splash", 0,
            segments_BS=segments, spread=spread,
        )  # fmt: skip


@pytest.mark.parametrize("window", [0, 8])
def test_all_parts_of_a_row_compute_as_many_scores(window):
    parts, tokens, block = 4, 64, 4
    q, k, v, segments = inputs(tokens)
    of_part = q[:, : tokens // parts], k, v, segments[:, : tokens // parts]

    def total(q, k, v, segments_BT):
        spread = Spread(jnp.int32(0), parts)
        return attention.attend(
            q, k, v, segments_BT, True, "blocked", block, segments_BS=segments,
            spread=spread, window=window,
        ).sum()  # fmt: skip

    traced = jax.make_jaxpr(jax.grad(total, argnums=(0, 1, 2)))(*of_part)
    forward, backward = switches(traced.jaxpr)
    for branches in forward, backward:
        work = [jaxprs.flops(branch.jaxpr) for branch in branches]
        assert len(work) == parts
        # Near the row's begin a window is cut: the first device has less to do there.
        assert len(set(work if window == 0 else work[1:])) == 1
        # As many as a row by itself, whose blocks meet nothing behind them.
        most = window + block if window else tokens
        pairs = sum(min(end, most) for end in range(block, tokens + 1, block)) * block
        products, rows_heads_size = 2 if branches is forward else 5, 2 * 4 * 6
        assert sum(work) == products * 2 * rows_heads_size * pairs


def switches(jaxpr):
    """The branches of each switch in a jaxpr."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "cond":
            found.append(equation.params["branches"])
        for value in equation.params.values():
            inside = getattr(value, "jaxpr", value)
            if hasattr(inside, "eqns"):
                found += switches(inside)
    return found


@pytest.mark.parametrize("devices", [2, pytest.param(3, marks=pytest.mark.slow), 8])
def test_rows_over_devices_attend_where_they_lie(devices):
    q, k, v, segments = (x[None] for x in inputs(48))
    mesh = synthetic.mesh((1, 1, 1, 1, devices))
    weights = jnp.asarray(np.random.default_rng(1).normal(size=q.shape), jnp.float32)
    how = {"causal": True, "backend": "reference", "block": 0}

    def in_groups(*arrays, **more):
        return attention.in_groups(*arrays, **how, **more)

    def alone(q, k, v, segments):
        return in_groups(q, k, v, segments, None, None)

    def dealt(q, k, v, segments):
        return context.attend(in_groups, "context", q, k, v, segments, None, None)

    spec = PartitionSpec(None, None, "context")
    spread = jax.shard_map(
        dealt, mesh=mesh, in_specs=(spec,) * 4, out_specs=spec, check_vma=False
    )

    def of(attend):
        def total(q, k, v):
            out = attend(q, k, v, segments)
            return jnp.sum(out * weights), out

        return jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(q, k, v)

    jax.tree.map(assert_close, of(spread), of(alone))

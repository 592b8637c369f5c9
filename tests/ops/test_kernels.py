"""Kernels as backends of attention: what they don't know is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo as jax_cudnn

from mmjax.ops import attention, kernels


def inputs(tokens=128, keys=128, dtype=jnp.bfloat16):
    return [jnp.ones((2, length, 4, 16), dtype) for length in (tokens, keys, keys)]


ROWS = jnp.ones((2, 128), jnp.int32)
KEYS = attention.Range(ROWS, ROWS)
ASKED = [
    ("splash", {"prefix_B": ROWS[:, 0]}, "prefixes"),
    ("splash", {"keys": KEYS}, "ranges of keys"),
    ("triton", {"prefix_B": ROWS[:, 0]}, "prefixes"),
    ("triton", {"keys": KEYS}, "ranges of keys"),
    ("triton", {"window": 5}, "windows"),
    ("triton", {"softcap": 5.0}, "soft caps"),
    ("cudnn", {"segments_BT": ROWS}, "segments"),
    ("cudnn", {"window": 5}, "windows"),
]


@pytest.mark.parametrize(("backend", "asked", "name"), ASKED)
def test_what_a_kernel_does_not_know_is_refused_by_name(backend, asked, name):
    how = {"segments_BT": None, "causal": True, "backend": backend, "block": 0}
    with pytest.raises(ValueError, match=f"{backend} backend knows no {name}"):
        attention.attend(*inputs(), **{**how, **asked})


@pytest.mark.parametrize("backend", ["splash", "triton"])
def test_kernels_of_positions_among_themselves_take_no_other_source(backend):
    assert backend in kernels.KERNELS
    with pytest.raises(ValueError, match="64 keys for 128 queries"):
        attention.attend(*inputs(keys=64), None, False, backend, 0)


def test_a_key_more_for_an_odd_number_of_them_is_seen_by_none(monkeypatch):
    """What jax would hand to cuDNN, by its own substitute for CPUs."""
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(2, 7, 4, 8)), jnp.float32) for _ in "qkv")
    elsewhere = functools.partial(_without_cudnn, jax.nn.dot_product_attention)
    monkeypatch.setattr(jax.nn, "dot_product_attention", elsewhere)
    found = attention.attend(q, k, v, None, False, "cudnn", 0)
    expected = attention.attend(q, k, v, None, False, "reference", 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def _without_cudnn(attend, q, *args, implementation, **options):
    assert implementation == "cudnn"
    assert q.shape[1] % 2 == 0
    return attend(q, *args, implementation="xla", **options)


def test_gpus_get_cudnn_for_patches_forward_and_backward(monkeypatch):
    """The call is legal for ViT-H's 729 patches and heads of 80."""
    monkeypatch.setattr(jax_cudnn, "check_cudnn_version", lambda: 91000)

    def total(q, k, v):
        out = attention.in_groups(
            q, k, v, None, None, None, causal=False, backend="cudnn", block=0
        )
        return jnp.sum(out.astype(jnp.float32))

    x = jax.ShapeDtypeStruct((2, 3, 729, 16, 80), jnp.bfloat16)
    traced = jax.jit(jax.grad(total, argnums=(0, 1, 2))).trace(x, x, x)
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert program.count("custom_call @__cudnn$fmhaSoftmax(") == 1
    assert program.count("custom_call @__cudnn$fmhaSoftmaxBackward(") == 1

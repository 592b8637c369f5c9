"""Attention by kernels of TPUs and GPUs, as backends of `mmjax.ops.attention`.

Their memory grows with T, and the compiler's partitioner can't look into them: where a
mesh has several devices, each runs its own. Which is for what: `mmjax.kernel_rules`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mmjax.ops import splash, triton


def _splash(q_BTKGH, k_BSKH, v_BSKH, own, rule, block):
    """On TPUs alone."""
    del block
    _refuse("splash", {"prefixes": own.prefix_B, "ranges of keys": own.keys})
    mask = splash.Mask(rule.causal, rule.window, rule.softcap)
    out_BTNH = splash.attend(
        _merged(q_BTKGH), k_BSKH, v_BSKH, own.segments_BT, mask, rule.scale,
        rule.blocks, own.segments_BS, own.part, rule.parts,
    )  # fmt: skip
    return out_BTNH.reshape(q_BTKGH.shape)


def _triton(q_BTKGH, k_BSKH, v_BSKH, own, rule, block):
    """On GPUs alone."""
    del block
    _refuse("triton", _beyond_gpus(own, rule))
    out_BTNH = triton.attend(
        _merged(q_BTKGH), k_BSKH, v_BSKH, own.segments_BT, rule.causal, rule.scale
    )
    return out_BTNH.reshape(q_BTKGH.shape)


def _cudnn(q_BTKGH, k_BSKH, v_BSKH, own, rule, block):
    """On NVIDIA's GPUs alone, of two bytes a number.

    Its residuals have no name, so the backward pass of a layer that doesn't keep
    everything runs the forward kernel again. (cuDNN itself knows rows of several
    documents, by the offset of each; jax has no public function for that.)
    """
    del block
    _refuse("cudnn", {"segments": own.segments_BT, **_beyond_gpus(own, rule)})
    q, k, v = arrays = _merged(q_BTKGH), k_BSKH, v_BSKH
    lengths = {}
    if q.shape[1] % 2 or k.shape[1] % 2:  # jax trains even numbers of them alone
        lengths["query_seq_lengths"], lengths["key_value_seq_lengths"], _ = (
            _lengths(x) for x in arrays
        )
        q, k, v = (
            jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0))) for x in arrays
        )
    out_BTNH = jax.nn.dot_product_attention(
        q, k, v, scale=rule.scale, is_causal=rule.causal, implementation="cudnn",
        **lengths,
    )  # fmt: skip
    return out_BTNH[:, : q_BTKGH.shape[1]].reshape(q_BTKGH.shape)


def _lengths(x_BTNH) -> Int[Array, "B"]:
    """T of each row; made of the array, as jax's rule for vmap wants it mapped too."""
    return 0 * x_BTNH[:, 0, 0, 0].astype(jnp.int32) + x_BTNH.shape[1]


def _merged(q_BTKGH) -> Float[Array, "B T N H"]:
    rows, tokens, groups, queries, size = q_BTKGH.shape
    return q_BTKGH.reshape(rows, tokens, groups * queries, size)


def _beyond_gpus(own: Any, rule: Any) -> dict[str, Any]:
    return {
        "prefixes": own.prefix_B,
        "ranges of keys": own.keys,
        "windows": rule.window or None,
        "soft caps": rule.softcap or None,
        "parts of rows": own.part,
    }


def _refuse(backend: str, unknown: dict[str, Any]) -> None:
    """Raises ValueError where something is asked for that the kernel doesn't know."""
    asked = [name for name, value in unknown.items() if value is not None]
    if asked:
        raise ValueError(f"the {backend} backend knows no {asked[0]}")


KERNELS: dict[str, Callable] = {
    "cudnn": _cudnn,
    "splash": _splash,
    "triton": _triton,
}

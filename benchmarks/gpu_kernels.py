"""Whether the kernels that our models take on GPUs compute what attention is."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.ops import attention, triton

# Largest difference from the float32 reference, as a share of its largest value. A
# bfloat16 has 8 bits, so that a single rounding is off by 0.4 % at most.
TOLERANCE = 0.02


class Case(NamedTuple):
    """One use of a kernel."""

    kernel: str
    use: str
    rows: int
    tokens: int
    heads: int
    kv_heads: int
    size: int
    documents: bool  # several in a row, and causal


CASES = (
    Case("triton", "rows of MM1-3B", 2, 4096, 20, 20, 128, True),
    Case("triton", "grouped heads", 2, 2048, 32, 8, 128, True),
    Case("triton", "rows that fill no block", 2, 1000, 12, 12, 64, True),
    Case("triton", "patches of ViT-H", 4, 729, 16, 16, 80, False),
    Case("cudnn", "patches of ViT-H", 4, 729, 16, 16, 80, False),
    Case("cudnn", "patches of ViT-L", 4, 576, 16, 16, 64, False),
)
TINY = (
    Case("triton", "grouped heads", 1, 130, 2, 1, 16, True),
    Case("triton", "patches", 1, 49, 2, 2, 20, False),
)


def check(on_gpu: bool) -> list[dict[str, Any]]:
    """The errors of each case; without a GPU of tiny ones, by an interpreter.

    cuDNN has none, and is left out there.
    """
    found = []
    for case in CASES if on_gpu else TINY:
        errors = _errors(case, on_gpu)
        found.append(
            {**case._asdict(), **errors, "correct": max(errors.values()) <= TOLERANCE}
        )
    return found


def _errors(case: Case, on_gpu: bool) -> dict[str, float]:
    rng = np.random.default_rng(0)
    heads = (case.heads, case.kv_heads, case.kv_heads, case.heads)
    q, k, v, weights = (
        jnp.asarray(rng.normal(size=(case.rows, case.tokens, n, case.size)), "bfloat16")
        for n in heads
    )
    segments = None
    if case.documents:
        drawn = np.sort(rng.integers(0, 5, (case.rows, case.tokens)))
        segments = jnp.asarray(drawn, jnp.int32)

    def by(backend: str, q, k, v):
        if backend == "triton" and not on_gpu:
            scale = case.size**-0.5
            return triton.attend(q, k, v, segments, case.documents, scale, True)
        return attention.attend(q, k, v, segments, case.documents, backend, 0)

    def of(backend: str, *arrays):
        def total(*arrays):
            out = by(backend, *arrays)
            return jnp.sum(out.astype(jnp.float32) * weights), out

        gradients = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))
        return gradients(*arrays)

    with jax.default_matmul_precision("highest"):
        exact, out = of("reference", *(x.astype(jnp.float32) for x in (q, k, v)))
    found, found_out = of(case.kernel, q, k, v)
    return {
        "forward": _error(found_out, out),
        "gradients": max(_error(a, b) for a, b in zip(found, exact, strict=True)),
    }


def _error(found: jax.Array, exact: jax.Array) -> float:
    """NaN counts as an error of infinity."""
    difference = jnp.abs(found.astype(jnp.float32) - exact).max()
    share = float(difference / jnp.abs(exact).max())
    return share if share == share else float("inf")

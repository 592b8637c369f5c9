"""Products with weights in 8 bits, through qwix; sums are of 32 bits.

Of y = x k both operands become 8-bit numbers times a step: each row of x has one, and
each output of k. What the backward pass multiplies are those same 8-bit x and k:

    dx = (dy * steps of k) k    gradients in 8 bits as well, a step a row
    dk = x (dy * steps of x)    fp8: likewise, a step an output
                                int8: x and dy in dy's dtype, for this sum over all rows
                                of a batch suffers most (arXiv 2304.13013, section 2)

A step is the largest absolute value over the largest number, of the values at hand:
nothing is kept from one batch to the next. Gradients pass as if nothing were rounded.
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

EXTRA = "quantization"  # of pyproject.toml, which installs qwix


class Kind(NamedTuple):
    """Number types of 8 bits."""

    forward: Any  # of activations and weights
    backward: Any  # of gradients
    all_products: bool  # weights' gradients too are of 8-bit products


# Which float8 is for what: arXiv 2209.05433.
KINDS = {
    "int8": Kind(jnp.int8, jnp.int8, all_products=False),
    "fp8": Kind(jnp.float8_e4m3fn, jnp.float8_e5m2, all_products=True),
}


# The largest int8 becomes 127: by qwix's own rule it would be 127.5 and, negative,
# rounded to -127 or -128 by what the last bit of a division is.
LARGEST = f"absmax,{127.5 / 127}"


def require(field: str) -> None:
    """Raises ValueError where qwix is missing, which this field of a config needs."""
    try:
        import qwix  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"{field}: needs qwix ({error}): run  pip install 'mmjax[{EXTRA}]'"
        ) from error


def tensordot(
    x: Float[Array, "..."], kernel: Float[Array, "..."], axes: int, kind: str
) -> Float[Array, "..."]:
    """`jnp.tensordot` of two arrays of one dtype; `kind` is a key of KINDS, or none."""
    if kind == "none":
        return jnp.tensordot(x, kernel, axes=axes)
    return _tensordot(x, kernel, axes, KINDS[kind])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _tensordot(x: Array, kernel: Array, axes: int, kind: Kind) -> Array:
    return _forward(x, kernel, axes, kind)[0]


def _forward(x: Array, kernel: Array, axes: int, kind: Kind) -> tuple[Array, Any]:
    rows = x.ndim - axes
    x8 = _quantize(x, kind.forward, range(rows))
    kernel8 = _quantize(kernel, kind.forward, range(axes, kernel.ndim))
    y = _multiply(x8, kernel8, range(rows, x.ndim), range(axes))
    return y.astype(x.dtype), (x8, kernel8)


def _backward(axes: int, kind: Kind, kept: Any, dy: Array) -> tuple[Array, Array]:
    x8, kernel8 = kept
    rows = x8.ndim - axes
    of_rows, of_outputs = tuple(range(rows)), tuple(range(rows, dy.ndim))
    steps = kernel8.scale.reshape(kernel8.shape[axes:])
    dy8 = _quantize(dy * steps, kind.backward, of_rows)
    dx = _multiply(dy8, kernel8.qvalue, of_outputs, range(axes, kernel8.ndim))
    dy_x = dy * x8.scale.reshape(*x8.shape[:rows], *[1] * len(of_outputs))
    if kind.all_products:
        dy8 = _quantize(dy_x, kind.backward, of_outputs)
        dkernel = _multiply(x8.qvalue, dy8, of_rows, of_rows)
    else:
        exact = x8.qvalue.astype(dy.dtype)  # 8 bits fit any dtype of activations
        dkernel = jnp.tensordot(exact, dy_x.astype(dy.dtype), (of_rows, of_rows))
    return dx.astype(dy.dtype), dkernel.astype(dy.dtype)


_tensordot.defvjp(_forward, _backward)


def _quantize(x: Array, dtype: Any, with_steps: Iterable[int]) -> Any:
    """A qwix.QArray: 8-bit values, and a float32 step for each place of these axes."""
    import qwix

    return qwix.quantize(
        x.astype(jnp.float32),
        dtype,
        channelwise_axes=tuple(with_steps),
        calibration_method=LARGEST,
    )


def _multiply(a: Any, b: Any, of_a: Iterable[int], of_b: Iterable[int]) -> Array:
    """Contracts these axes of 8-bit arrays; float32, times what steps they have."""
    import qwix

    return qwix.dot_general(a, b, ((tuple(of_a), tuple(of_b)), ((), ())))

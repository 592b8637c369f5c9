"""Products with kernels whose gradients are summed over devices in float32.

A product in bfloat16 gives its kernel a bfloat16 gradient, and that is what TPUs sum
over the devices that hold rows. Here the gradient is float32 from the product on.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

_dtype: contextvars.ContextVar[str] = contextvars.ContextVar("dtype", default="model")


@contextlib.contextmanager
def summed_in(dtype: str) -> Iterator[None]:
    """What is traced within it sums gradients of linear layers in this dtype.

    It is one of `config.REDUCE_DTYPES`.
    """
    before = _dtype.set(dtype)
    try:
        yield
    finally:
        _dtype.reset(before)


def in_float32() -> bool:
    """Whether `summed_in("float32")` is in force."""
    return _dtype.get() == "float32"


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def multiply(
    x: Float[Array, "..."], kernel: Float32[Array, "..."], axes: int
) -> Float[Array, "..."]:
    """Contracts the last `axes` axes of x with the kernel's first ones, in x's dtype.

    The kernel's gradient never is of that dtype.
    """
    return jnp.tensordot(x, kernel.astype(x.dtype), axes)


def _forward(x, kernel, axes):
    return multiply(x, kernel, axes), (x, kernel)


def _backward(axes, residuals, d_y):
    x, kernel = residuals
    rows = tuple(range(x.ndim - axes))
    outputs = tuple(range(len(rows), d_y.ndim)), tuple(range(axes, kernel.ndim))
    d_x = jnp.tensordot(d_y, kernel.astype(x.dtype), outputs)
    d_kernel = jax.lax.dot_general(
        x, d_y, ((rows, rows), ((), ())), preferred_element_type=jnp.float32
    )
    return d_x, d_kernel


multiply.defvjp(_forward, _backward)


def add(y: Float[Array, "..."], bias: Float32[Array, "..."]) -> Float[Array, "..."]:
    """The sum, in y's dtype; the gradient of the bias never is of that dtype."""
    return (y.astype(jnp.float32) + bias).astype(y.dtype)

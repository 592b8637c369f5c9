"""Rotary positions: queries and keys are turned by angles that grow with position."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class Rotation(NamedTuple):
    """Cosines and sines of the angles, one for each pair of a head's numbers."""

    cos: Float[Array, "*rows T half"]
    sin: Float[Array, "*rows T half"]


class Scaling(NamedTuple):
    """How a model turns more slowly, for rows longer than those it was trained on.

    Pairs that turn fewer than `slow` times in `original_length` tokens become `factor`
    times slower; those that turn more than `fast` times stay as they are.
    """

    kind: str = "none"  # a key of SCALINGS
    factor: float = 1.0
    original_length: int = 8192
    slow: float = 1.0
    fast: float = 4.0


def rotation(
    positions: Int[Array, "*rows T"],
    head_size: int,
    theta: float,
    scaling: Scaling | None = None,
) -> Rotation:
    """Angles position * theta ** (-2 i / head_size), scaled, in float32.

    Su et al., arXiv 2104.09864.
    """
    exponents = jnp.arange(head_size // 2, dtype=jnp.float32) * (-2 / head_size)
    speeds = theta**exponents
    if scaling is not None:
        speeds = SCALINGS[scaling.kind](speeds, theta, scaling)
    angles = positions[..., None].astype(jnp.float32) * speeds
    turn = Rotation(jnp.cos(angles), jnp.sin(angles))
    if scaling is not None and scaling.kind == "yarn":
        # YaRN sharpens attention as well; here queries and keys each get the root.
        gain = 0.1 * math.log(scaling.factor) + 1
        turn = Rotation(turn.cos * gain, turn.sin * gain)
    return turn


def rotate(
    x: Float[Array, "*rows T N H"], turn: Rotation
) -> Float[Array, "*rows T N H"]:
    """Turns each pair (x[i], x[i + H / 2]) of every head by its position's angle.

    The product of a query and a key then depends on their distance only.
    """
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = turn.cos[..., None, :], turn.sin[..., None, :]
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


@jax.custom_vjp
def rotate_by_products(
    x: Float[Array, "*rows T N H"], turn: Rotation
) -> Float[Array, "*rows T N H"]:
    """`rotate`, of which the halves change places by a product with a permutation.

    It is exact, and on TPUs faster than what moves half a register: its matrix units
    have room, and halves on their own would leave half of the registers empty.
    """
    return _turned(x, turn.cos, turn.sin)


def _turned(x, cos, sin) -> Float[Array, "*rows T N H"]:
    half = x.shape[-1] // 2
    swap_HH = jnp.asarray(np.roll(np.eye(2 * half), half, axis=0), x.dtype)
    swapped = jnp.einsum(
        "...H,HG->...G", x, swap_HH, precision="highest",
        preferred_element_type=jnp.float32,
    )  # fmt: skip
    cos = jnp.concatenate([cos, cos], axis=-1)[..., None, :]
    sin = jnp.concatenate([-sin, sin], axis=-1)[..., None, :]
    return (x.astype(jnp.float32) * cos + swapped * sin).astype(x.dtype)


def _turned_forward(x, turn):
    return rotate_by_products(x, turn), turn


def _turned_back(turn, d_out):
    return _turned(d_out, turn.cos, -turn.sin), None


rotate_by_products.defvjp(_turned_forward, _turned_back)

Speeds = Float[Array, " half"]  # of each pair, in radians a position


def _none(speeds: Speeds, theta: float, scaling: Scaling) -> Speeds:
    del theta, scaling
    return speeds


def _linear(speeds: Speeds, theta: float, scaling: Scaling) -> Speeds:
    """Positions are interpolated (Chen et al., arXiv 2306.15595)."""
    del theta
    return speeds / scaling.factor


def _llama3(speeds: Speeds, theta: float, scaling: Scaling) -> Speeds:
    """Slow pairs are interpolated; between slow and fast, linear in their turns.

    Llama 3.1 (arXiv 2407.21783).
    """
    del theta
    turns = scaling.original_length * speeds / (2 * math.pi)
    kept = (turns - scaling.slow) / (scaling.fast - scaling.slow)
    return _between(speeds, jnp.clip(kept, 0, 1), scaling)


def _yarn(speeds: Speeds, theta: float, scaling: Scaling) -> Speeds:
    """The same, linear in the pair's place (Peng et al., arXiv 2309.00071, 3.2)."""
    pairs = speeds.shape[0]

    def place(turns: float) -> float:
        """Of the pair that turns so often in the original length."""
        speed = 2 * math.pi * turns / scaling.original_length
        return -pairs * math.log(speed) / math.log(theta)

    fast = max(math.floor(place(scaling.fast)), 0)
    slow = min(math.ceil(place(scaling.slow)), 2 * pairs - 1)
    kept = 1 - (jnp.arange(pairs) - fast) / max(slow - fast, 0.001)
    return _between(speeds, jnp.clip(kept, 0, 1), scaling)


def _between(speeds: Speeds, kept: Speeds, scaling: Scaling) -> Speeds:
    """Speeds of which a share is kept and the rest divided by the factor."""
    return speeds * (kept + (1 - kept) / scaling.factor)


SCALINGS: dict[str, Callable[[Speeds, float, Scaling], Speeds]] = {
    "linear": _linear,
    "llama3": _llama3,
    "none": _none,
    "yarn": _yarn,
}

"""Contrastive losses over a batch on many devices, no two of which hold all of it.

Each device keeps its images, and the texts of all devices come by in a ring, a block at
a time, once forwards and once backwards: a device holds `images / devices` x `block`
logits, never images x texts. (The ring is that of SigLIP, Zhai et al., arXiv
2303.15343, section 3.3.) All is float32, also on TPUs: a pair's own logit must be the
number that is in its sums, and beside the towers the products cost nothing.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

MASKED = -1e30  # a logit that adds an exact zero


class Reduction(NamedTuple):
    """What a row or a column of logits comes to, and how parts of one are joined."""

    empty: float  # of no logits
    over: Callable[..., Array]  # (logits, axis=)
    join: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]  # (logits, what they come to) -> derivative


CONTRASTS = {
    "sigmoid": Reduction(
        0.0,
        lambda logits, axis: jax.nn.softplus(logits).sum(axis),
        jnp.add,
        lambda logits, total: jax.nn.sigmoid(logits),
    ),
    "softmax": Reduction(
        MASKED,
        jax.nn.logsumexp,
        jnp.logaddexp,
        lambda logits, total: jnp.exp(logits - total),
    ),
}


class _Ring(NamedTuple):
    """The devices that texts go round, and what they come to there."""

    reduction: Reduction
    block: int  # texts compared at a time
    devices: int
    axes: tuple[str, ...]  # of the mesh, that they lie on


def normed(x: Float[Array, "*axes Y"]) -> Float[Array, "*axes Y"]:
    """Vectors of length 1, in float32."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-12)


def losses(
    images_ZCY: Float[Array, "Z C Y"],
    texts_ZCY: Float[Array, "Z C Y"],
    valid_ZC: Bool[Array, "Z C"],
    scale: Float[Array, ""],
    bias: Float[Array, ""],
    kind: str,
    block: int,
    spec: PartitionSpec,
) -> Float[Array, "Z C"]:
    """The loss of each pair of vectors of length 1 among all valid ones, in nats.

    A pair's logit is scale * cosine + bias. `sigmoid` (SigLIP): image and text of the
    same slot are a yes, of two slots a no; the no's of a pair's image and of its text
    count half each, so that the sum over pairs is that over all couples. `softmax`
    (CLIP, arXiv 2103.00020): the mean of both directions. `spec` says how [Z, C] lies
    on the mesh in force, if there is one; `block`: texts compared at a time.
    """
    # The bias is a channel more: of logits there is only the product.
    ones_ZC1 = jnp.ones_like(images_ZCY[..., :1])
    images_ZCY = jnp.concatenate([scale * images_ZCY, bias * ones_ZC1], axis=-1)
    texts_ZCY = jnp.concatenate([texts_ZCY, ones_ZC1], axis=-1)
    mesh = jax.sharding.get_abstract_mesh()
    over = [name for entry in spec for name in _names(entry)]
    axes = tuple(name for name in mesh.axis_names if name in over)  # a ring in order
    devices = 1 if mesh.empty else math.prod(mesh.shape[name] for name in axes)
    ring = _Ring(CONTRASTS[kind], block, devices, axes)
    of_device = functools.partial(_of_device, ring)
    if devices > 1:
        of_device = jax.shard_map(
            of_device, in_specs=(spec,) * 3, out_specs=spec, check_vma=False
        )
    return of_device(images_ZCY, texts_ZCY, valid_ZC)


def _names(entry) -> tuple[str, ...]:
    return entry if isinstance(entry, tuple) else (entry,) if entry else ()


def _of_device(
    ring: _Ring,
    images_ZCY: Float[Array, "z c Y"],
    texts_ZCY: Float[Array, "z c Y"],
    valid_ZC: Bool[Array, "z c"],
) -> Float[Array, "z c"]:
    """The losses of a device's own pairs."""
    images_IY, texts_IY = (x.reshape(-1, x.shape[-1]) for x in (images_ZCY, texts_ZCY))
    valid_I = valid_ZC.reshape(-1)
    totals: Any = _totals(ring, images_IY, texts_IY, valid_I)
    over_texts_I, over_images_I = totals
    own_I = jnp.sum(images_IY * texts_IY, axis=-1)
    loss_I = 0.5 * (over_texts_I + over_images_I) - own_I
    return jnp.where(valid_I, loss_I, 0).reshape(valid_ZC.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _totals(
    ring: _Ring, images_IY: Array, texts_IY: Array, valid_I: Array
) -> tuple[Array, Array]:
    """What the logits of each image, and of each text, of a device come to."""
    reduction = ring.reduction

    def meet(over_texts_I: Array, texts: tuple[Array, ...]):
        texts_bY, valid_b, over_images_b = texts
        logits_Ib = _logits(images_IY, valid_I, texts_bY, valid_b)
        more_I, more_b = (reduction.over(logits_Ib, axis=axis) for axis in (1, 0))
        over_images_b = reduction.join(over_images_b, more_b)
        return reduction.join(over_texts_I, more_I), (texts_bY, valid_b, over_images_b)

    empty_I = jnp.full(valid_I.shape, reduction.empty)
    texts = (texts_IY, valid_I, empty_I)
    over_texts_I, (_, _, over_images_I) = _round(ring, meet, empty_I, texts)
    return over_texts_I, over_images_I


def _totals_and_residuals(ring: _Ring, *vectors: Array) -> tuple[Any, Any]:
    totals: Any = _totals(ring, *vectors)
    return totals, (*vectors, *totals)


def _slopes(ring: _Ring, residuals: Any, slopes: Any) -> tuple[Array, Array, None]:
    """Of images and texts, in another round, in which logits are made again."""
    images_IY, texts_IY, valid_I, over_texts_I, over_images_I = residuals
    slope = ring.reduction.slope
    product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)

    def meet(images_slope_IY: Array, texts: tuple[Array, ...]):
        texts_bY, valid_b, over_images_b, slope_b, texts_slope_bY = texts
        logits_Ib = _logits(images_IY, valid_I, texts_bY, valid_b)
        slope_Ib = slopes[0][:, None] * slope(logits_Ib, over_texts_I[:, None])
        slope_Ib += slope_b * slope(logits_Ib, over_images_b)
        slope_Ib = jnp.where(valid_I[:, None] & valid_b, slope_Ib, 0)
        images_slope_IY += product("Ib,bY->IY", slope_Ib, texts_bY)
        texts_slope_bY += product("Ib,IY->bY", slope_Ib, images_IY)
        return images_slope_IY, (*texts[:-1], texts_slope_bY)

    none_IY = jnp.zeros_like(images_IY)
    texts = (texts_IY, valid_I, over_images_I, slopes[1], none_IY)
    images_slope_IY, (*_, texts_slope_IY) = _round(ring, meet, none_IY, texts)
    return images_slope_IY, texts_slope_IY, None


_totals.defvjp(_totals_and_residuals, _slopes)


def _logits(
    images_IY: Array, valid_I: Array, texts_bY: Array, valid_b: Array
) -> Float[Array, "I b"]:
    """The products of valid images with valid texts."""
    logits_Ib = jnp.einsum(
        "IY,bY->Ib", images_IY, texts_bY, precision=jax.lax.Precision.HIGHEST
    )
    return jnp.where(valid_I[:, None] & valid_b, logits_Ib, MASKED)


def _round(ring: _Ring, meet: Callable, kept: Any, texts: Any) -> tuple[Any, Any]:
    """What a device has kept, and what its texts [I, ...] come home with.

    `meet` maps (kept, a block of texts) to both as they are then.
    """
    size = len(texts[0])
    blocks = -(-size // ring.block)
    more = blocks * -(-size // blocks) - size  # invalid texts that fill up the last
    neighbours = [(i, (i + 1) % ring.devices) for i in range(ring.devices)]

    def cut(x: Array) -> Array:
        x = jnp.pad(x, ((0, more), *[(0, 0)] * (x.ndim - 1)))
        return x.reshape(blocks, -1, *x.shape[1:])

    def turn(carry, _):
        kept, texts = jax.lax.scan(meet, *carry)
        if ring.devices > 1:
            texts = jax.tree.map(
                lambda x: jax.lax.ppermute(x, ring.axes, neighbours), texts
            )
        return (kept, texts), None

    # After as many turns as there are devices the texts are back where they began.
    start = (kept, jax.tree.map(cut, texts))
    (kept, texts), _ = jax.lax.scan(turn, start, None, length=ring.devices)
    return kept, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:size], texts)

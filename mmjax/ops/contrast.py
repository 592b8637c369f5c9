"""Contrastive losses over a batch on many devices, no two of which hold all of it.

Each device keeps its images, and the texts of all devices come by in a ring, a block at
a time: a device holds `images / devices` x `block` logits, never images x texts. (The
ring is that of SigLIP, Zhai et al., arXiv 2303.15343, section 3.3.)
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

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


CONTRASTS = {
    "sigmoid": Reduction(
        0.0, lambda logits, axis: jax.nn.softplus(logits).sum(axis), jnp.add
    ),
    "softmax": Reduction(MASKED, jax.nn.logsumexp, jnp.logaddexp),
}


class _Texts(NamedTuple):
    """A device's texts in blocks, on their way round the ring."""

    vectors_kbW: Float[Array, "k b W"]
    valid_kb: Bool[Array, "k b"]
    over_images_kb: Float[Array, "k b"]  # of the images that they have met


def normed(x: Float[Array, "*axes W"]) -> Float[Array, "*axes W"]:
    """Vectors of length 1, in float32."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-12)


def losses(
    images_ZCW: Float[Array, "Z C W"],
    texts_ZCW: Float[Array, "Z C W"],
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
    ones_ZC1 = jnp.ones_like(images_ZCW[..., :1])
    images_ZCW = jnp.concatenate([scale * images_ZCW, bias * ones_ZC1], axis=-1)
    texts_ZCW = jnp.concatenate([texts_ZCW, ones_ZC1], axis=-1)
    mesh = jax.sharding.get_abstract_mesh()
    axes = tuple(name for entry in spec for name in _names(entry))
    devices = 1 if mesh.empty else math.prod(mesh.shape[name] for name in axes)
    of_device = functools.partial(_of_device, CONTRASTS[kind], block, devices, axes)
    if devices > 1:
        of_device = jax.shard_map(
            of_device, in_specs=(spec,) * 3, out_specs=spec, check_vma=False
        )
    return of_device(images_ZCW, texts_ZCW, valid_ZC)


def _names(entry) -> tuple[str, ...]:
    return entry if isinstance(entry, tuple) else (entry,) if entry else ()


def _of_device(
    reduction: Reduction,
    block: int,
    devices: int,
    axes: tuple[str, ...],
    images_ZCW: Float[Array, "z c W"],
    texts_ZCW: Float[Array, "z c W"],
    valid_ZC: Bool[Array, "z c"],
) -> Float[Array, "z c"]:
    """The losses of a device's own pairs."""
    images_IW, texts_IW = (x.reshape(-1, x.shape[-1]) for x in (images_ZCW, texts_ZCW))
    valid_I = valid_ZC.reshape(-1)
    texts = _in_blocks(texts_IW, valid_I, block, reduction.empty)
    compare = functools.partial(_compare, reduction, images_IW, valid_I)
    ring = [(i, (i + 1) % devices) for i in range(devices)]

    def turn(carry, _):
        over_texts_I, texts = compare(*carry)
        if devices > 1:
            texts = jax.tree.map(lambda x: jax.lax.ppermute(x, axes, ring), texts)
        return (over_texts_I, texts), None

    start = (jnp.full(valid_I.shape, reduction.empty), texts)
    # After as many turns as there are devices the texts are back where they began.
    (over_texts_I, texts), _ = jax.lax.scan(turn, start, None, length=devices)
    over_images_I = texts.over_images_kb.reshape(-1)[: valid_I.size]
    own_I = jnp.sum(images_IW * texts_IW, axis=-1)
    loss_I = 0.5 * (over_texts_I + over_images_I) - own_I
    return jnp.where(valid_I, loss_I, 0).reshape(valid_ZC.shape)


def _in_blocks(texts_IW, valid_I, block: int, empty: float) -> _Texts:
    """Texts in blocks of one size; the last is filled up with invalid ones."""
    count = -(-valid_I.size // block)
    size = -(-valid_I.size // count)
    more = count * size - valid_I.size
    return _Texts(
        jnp.pad(texts_IW, ((0, more), (0, 0))).reshape(count, size, -1),
        jnp.pad(valid_I, (0, more)).reshape(count, size),
        jnp.full((count, size), empty),
    )


def _compare(reduction: Reduction, images_IW, valid_I, over_texts_I, texts: _Texts):
    """Both accumulators after the device's images have met these texts."""

    @jax.checkpoint  # the backward pass makes a block's logits again
    def meet(over_texts_I, part: _Texts):
        logits_Ib = jnp.einsum(
            "IW,bW->Ib", images_IW, part.vectors_kbW, preferred_element_type=jnp.float32
        )
        both_Ib = valid_I[:, None] & part.valid_kb
        logits_Ib = jnp.where(both_Ib, logits_Ib, MASKED)
        over_texts_I = reduction.join(over_texts_I, reduction.over(logits_Ib, axis=1))
        over_images_b = reduction.over(logits_Ib, axis=0)
        return over_texts_I, reduction.join(part.over_images_kb, over_images_b)

    over_texts_I, over_images_kb = jax.lax.scan(meet, over_texts_I, texts)
    return over_texts_I, texts._replace(over_images_kb=over_images_kb)

"""Cross entropy over a large vocabulary, without all logits at the same time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class TokenLoss(NamedTuple):
    """What each position contributes; the caller masks, weighs and adds."""

    nll_ZRT: Float[Array, "Z R T"]  # -log p(target), in nats
    log_z_ZRT: Float[Array, "Z R T"]  # log of the sum of exponentials, for z-loss
    hit_ZRT: Bool[Array, "Z R T"]  # the target is the most likely token


def chunked(
    hidden_ZRTD: Float[Array, "Z R T D"],
    unembed_DV: Float[Array, "D V"],
    targets_ZRT: Int[Array, "Z R T"],
    chunk: int,
) -> TokenLoss:
    """Loss of every position, `chunk` tokens of each row at a time.

    Logits and everything made of them are float32; the backward pass computes them
    again, so the memory they take is Z * R * chunk * V numbers. T must be a multiple of
    `chunk` where it is larger, else ValueError.
    """
    tokens = targets_ZRT.shape[-1]
    chunk = min(chunk, tokens)
    if tokens % chunk:
        raise ValueError(f"chunk={chunk}: must divide the {tokens} tokens of a row")
    unembed_DV = unembed_DV.astype(hidden_ZRTD.dtype)
    one = jax.checkpoint(_token_loss, prevent_cse=False)
    if chunk == tokens:
        return one(hidden_ZRTD, unembed_DV, targets_ZRT)

    def split(x):
        parts = x.reshape(*x.shape[:2], tokens // chunk, chunk, *x.shape[3:])
        return jnp.moveaxis(parts, 2, 0)

    def body(_, part):
        return None, one(part[0], unembed_DV, part[1])

    _, losses = jax.lax.scan(body, None, (split(hidden_ZRTD), split(targets_ZRT)))
    return jax.tree.map(
        lambda x: jnp.moveaxis(x, 0, 2).reshape(targets_ZRT.shape), losses
    )


def _token_loss(hidden_ZRTD, unembed_DV, targets_ZRT) -> TokenLoss:
    logits_ZRTV = jnp.einsum(
        "ZRTD,DV->ZRTV", hidden_ZRTD, unembed_DV, preferred_element_type=jnp.float32
    )
    top_ZRT = jnp.max(logits_ZRTV, axis=-1)
    picked_ZRT = jnp.take_along_axis(logits_ZRTV, targets_ZRT[..., None], axis=-1)
    picked_ZRT = picked_ZRT[..., 0]
    log_z_ZRT = jax.nn.logsumexp(logits_ZRTV, axis=-1)
    return TokenLoss(log_z_ZRT - picked_ZRT, log_z_ZRT, picked_ZRT >= top_ZRT)

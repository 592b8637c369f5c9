"""Cross entropy over a large vocabulary, without all logits at the same time."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.ops import pointwise


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
    softcap: float = 0.0,
    parts: int = 1,
) -> TokenLoss:
    """Loss of every position, `chunk` tokens of each row at a time.

    Of rows that lie in equal `parts` on as many devices, each gives an equal share of a
    chunk.

    With `softcap`, logits become softcap * tanh(logit / softcap) (Gemma 2).
    Logits and everything made of them are float32; the backward pass computes them
    again, so the memory they take is Z * R * chunk * V numbers. T must be a multiple of
    `chunk` where it is larger, else ValueError.
    """
    tokens = targets_ZRT.shape[-1]
    chunk = min(chunk, tokens)
    if tokens % chunk or chunk % parts:
        raise ValueError(
            f"chunk={chunk}: must divide the {tokens} tokens of a row, and be divided "
            f"by its {parts} parts"
        )
    cut = Cut(parts, tokens // chunk)
    return _chunked(hidden_ZRTD, unembed_DV, targets_ZRT, cut, softcap)


class Cut(NamedTuple):
    """How the tokens of a row are cut."""

    parts: int
    chunks: int


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _chunked(hidden_ZRTD, unembed_DV, targets_ZRT, cut: Cut, softcap) -> TokenLoss:
    return _forward(hidden_ZRTD, unembed_DV, targets_ZRT, cut, softcap)[0]


def _forward(hidden_ZRTD, unembed_DV, targets_ZRT, cut, softcap):
    table_DV = unembed_DV.astype(hidden_ZRTD.dtype)

    def body(_, part):
        return None, _token_loss(_logits(part[0], table_DV, softcap), part[1])

    parts = _split(hidden_ZRTD, cut), _split(targets_ZRT, cut)
    _, losses = jax.lax.scan(body, None, parts)
    loss = jax.tree.map(lambda chunks: _join(chunks, cut), losses)
    return loss, (hidden_ZRTD, unembed_DV, targets_ZRT, loss.log_z_ZRT)


def _backward(cut, softcap, residuals, d_loss: TokenLoss):
    hidden_ZRTD, unembed_DV, targets_ZRT, log_z_ZRT = residuals
    table_DV = unembed_DV.astype(hidden_ZRTD.dtype)

    def body(d_unembed_DV, part):
        hidden, targets, log_z, d_nll, d_log_z = part
        logits = _logits(hidden, table_DV, softcap)
        d_logits = jnp.exp(logits - log_z[..., None]) * (d_nll + d_log_z)[..., None]
        d_logits -= jnp.where(_is_target(targets, logits), d_nll[..., None], 0.0)
        if softcap:
            d_logits *= 1 - jnp.square(logits / softcap)
        d_logits = d_logits.astype(hidden.dtype)
        d_hidden = jnp.einsum("ZRTV,DV->ZRTD", d_logits, table_DV)
        d_part_DV = _float32("ZRTD,ZRTV->DV", hidden, d_logits)
        return d_unembed_DV + d_part_DV, d_hidden

    wholes = hidden_ZRTD, targets_ZRT, log_z_ZRT, d_loss.nll_ZRT, d_loss.log_z_ZRT
    parts = tuple(_split(whole, cut) for whole in wholes)
    zeros_DV = jnp.zeros(unembed_DV.shape, jnp.float32)
    d_unembed_DV, d_hiddens = jax.lax.scan(body, zeros_DV, parts)
    return _join(d_hiddens, cut), d_unembed_DV.astype(unembed_DV.dtype), None


_chunked.defvjp(_forward, _backward)

_float32 = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def _split(whole, cut: Cut):
    """[Z, R, T, ...] to [chunks, Z, R, T / chunks, ...]."""
    rows, rest = whole.shape[:2], whole.shape[3:]
    pieces = whole.reshape(*rows, *cut, -1, *rest)
    return jnp.moveaxis(pieces, 3, 0).reshape(cut.chunks, *rows, -1, *rest)


def _join(chunks, cut: Cut):
    """What `_split` split."""
    rows, rest = chunks.shape[1:3], chunks.shape[4:]
    pieces = chunks.reshape(cut.chunks, *rows, cut.parts, -1, *rest)
    return jnp.moveaxis(pieces, 0, 3).reshape(*rows, -1, *rest)


def _logits(hidden_ZRTD, table_DV, softcap: float) -> Float[Array, "Z R T V"]:
    logits_ZRTV = _float32("ZRTD,DV->ZRTV", hidden_ZRTD, table_DV)
    return pointwise.softcapped(logits_ZRTV, softcap)


def _is_target(targets_ZRT, logits_ZRTV) -> Bool[Array, "Z R T V"]:
    # Compared, not gathered: no gather or scatter along a vocabulary that is sharded.
    return targets_ZRT[..., None] == jnp.arange(logits_ZRTV.shape[-1])


def _token_loss(logits_ZRTV, targets_ZRT) -> TokenLoss:
    top_ZRT = jnp.max(logits_ZRTV, axis=-1)
    is_target_ZRTV = _is_target(targets_ZRT, logits_ZRTV)
    picked_ZRT = jnp.sum(jnp.where(is_target_ZRTV, logits_ZRTV, 0.0), axis=-1)
    sum_ZRT = jnp.sum(jnp.exp(logits_ZRTV - top_ZRT[..., None]), axis=-1)
    log_z_ZRT = top_ZRT + jnp.log(sum_ZRT)
    return TokenLoss(log_z_ZRT - picked_ZRT, log_z_ZRT, picked_ZRT >= top_ZRT)

"""The next token of each row: the most likely one, or one drawn by chance.

Chance comes from a row's own seed and the number of its token alone: who else is in
the batch changes nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int, Int32, UInt32


class Choice(NamedTuple):
    """How the tokens of each row are chosen, by temperature, then top-k, then top-p."""

    temperature_ZR: Float32[Array, "Z R"]  # logits are divided by it; 0: most likely
    top_k_ZR: Int32[Array, "Z R"]  # only so many most likely tokens; 0: all
    # Only the fewest most likely tokens whose probabilities reach this sum; 1: all.
    top_p_ZR: Float32[Array, "Z R"]
    seed_ZR: UInt32[Array, "Z R"]


def choose(
    logits_ZRV: Float32[Array, "Z R V"],
    how: Choice,
    number: Int[Array, ""],
    kind: str,
) -> Int32[Array, "Z R"]:
    """Token `number` (from 0) of each row.

    `kind` is a key of KINDS, the least that all rows are served by: it changes the
    work, not the tokens.
    """
    return KINDS[kind](logits_ZRV, how, number).astype(jnp.int32)


def cut(
    logits_V: Float32[Array, "V"], top_k: Int[Array, ""], top_p: Float32[Array, ""]
) -> Bool[Array, "V"]:
    """Which tokens top-k and, of what that leaves, top-p let through; one at least.

    Of equally likely tokens those with lower ids come first.
    """
    order_V = jnp.argsort(-logits_V, stable=True)
    rank_V = jnp.arange(logits_V.shape[0])
    inside_V = (rank_V < top_k) | (top_k <= 0)
    share_V = jax.nn.softmax(jnp.where(inside_V, logits_V[order_V], -jnp.inf))
    before_V = jnp.cumsum(share_V) - share_V
    inside_V &= (before_V < top_p) | (top_p >= 1) | (rank_V == 0)
    return jnp.zeros_like(inside_V).at[order_V].set(inside_V)


def _greedy(logits_ZRV: Array, how: Choice, number: Array) -> Array:
    del how, number
    return jnp.argmax(logits_ZRV, axis=-1)


def _sampled(logits_ZRV: Array, how: Choice, number: Array) -> Array:
    return _drawn(logits_ZRV, _scaled(logits_ZRV, how), how, number)


def _cut(logits_ZRV: Array, how: Choice, number: Array) -> Array:
    scaled_ZRV = _scaled(logits_ZRV, how)
    inside_ZRV = jax.vmap(jax.vmap(cut))(scaled_ZRV, how.top_k_ZR, how.top_p_ZR)
    kept_ZRV = jnp.where(inside_ZRV, scaled_ZRV, -jnp.inf)
    return _drawn(logits_ZRV, kept_ZRV, how, number)


def _scaled(logits_ZRV: Array, how: Choice) -> Array:
    warm_ZR = jnp.where(how.temperature_ZR > 0, how.temperature_ZR, 1)
    return logits_ZRV / warm_ZR[..., None]


def _drawn(logits_ZRV: Array, scaled_ZRV: Array, how: Choice, number: Array) -> Array:
    """The largest of logits and Gumbel noise is a sample of their softmax."""

    def noise(seed: Array) -> Array:
        key = jax.random.fold_in(jax.random.key(seed), number)
        return jax.random.gumbel(key, scaled_ZRV.shape[-1:])

    noisy_ZRV = scaled_ZRV + jax.vmap(jax.vmap(noise))(how.seed_ZR)
    drawn_ZR = jnp.argmax(noisy_ZRV, axis=-1)
    return jnp.where(how.temperature_ZR > 0, drawn_ZR, jnp.argmax(logits_ZRV, axis=-1))


# From the cheapest on: each serves the rows of those before it as well.
KINDS: dict[str, Callable[[Array, Choice, Array], Array]] = {
    "greedy": _greedy,
    "sampled": _sampled,
    "cut": _cut,
}

"""Mixture of experts: where tokens go, and how what the experts say is put together.

Each token goes to its k most likely experts, of probabilities p = softmax(logits) in
float32, and gets the sum of their outputs with weights p_i / (sum of p over those k):
GShard's gates (arXiv 2006.16668) without its random dropping of second choices. The
balance and z-losses are those of GShard and ST-MoE (arXiv 2202.08906).

Tokens are sorted into a buffer of slots, a run of slots an expert. Nothing is
scattered, back or forth: a slot knows its choice, and a choice knows its slot.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int, Int32


class Routes(NamedTuple):
    """The experts that each token goes to, the most likely one first."""

    expert: Int32[Array, "*rows T A"]
    weight: Float32[Array, "*rows T A"]  # sums to 1 over A


class RouterSums(NamedTuple):
    """What the router of a layer is judged by: sums over tokens; stacked on L."""

    balance_L: Float32[Array, "*L"]  # over pool groups: tokens x balance loss
    z_L: Float32[Array, "*L"]  # squared log-partitions of the tokens
    load_LX: Int32[Array, "*L X"]  # choices of each expert, the dropped ones too
    dropped_L: Int32[Array, "*L"]  # choices that found no room


class Slots(NamedTuple):
    """Where choices stand in a buffer of M slots, a run of them an expert."""

    slot_JA: Int32[Array, "J A"]  # of each choice; M: it has none
    choice_M: Int32[Array, " M"]  # place of the choice in [J, A], flat; J * A: empty
    runs_X: Int32[Array, " X"]  # slots of each expert's run


def route(logits: Float32[Array, "*rows T X"], k: int) -> Routes:
    """The k most likely experts of each token, with weights that sum to 1."""
    share, expert = jax.lax.top_k(jax.nn.softmax(logits, axis=-1), k)
    weight = share / jnp.sum(share, axis=-1, keepdims=True)
    return Routes(expert.astype(jnp.int32), weight)


def router_sums(
    logits_ZRTX: Float32[Array, "Z R T X"],
    routes: Routes,
    real_ZRT: Bool[Array, "Z R T"],
) -> RouterSums:
    """Losses and load of one layer over real tokens; nothing is dropped yet.

    The balance loss of a pool group is X * sum over experts of f * p: f the share of
    its tokens whose first choice the expert is, p the mean of its probabilities. 1 is
    even. It isn't linear in tokens, so it is taken over each pool group, which no mesh
    and no microbatch divides, and the groups are weighed by their tokens.
    """
    experts = logits_ZRTX.shape[-1]
    real_ZRT1 = real_ZRT[..., None]
    share_ZRTX = jnp.where(real_ZRT1, jax.nn.softmax(logits_ZRTX, axis=-1), 0)
    chosen_ZRTAX = routes.expert[..., None] == jnp.arange(experts)
    chosen_ZRTAX &= real_ZRT1[..., None]
    first_ZX = chosen_ZRTAX[..., 0, :].sum((1, 2)).astype(jnp.float32)
    tokens_Z = jnp.maximum(real_ZRT.sum((1, 2)), 1)
    balance_Z = experts * (first_ZX * share_ZRTX.sum((1, 2))).sum(-1) / tokens_Z
    log_z_ZRT = jax.nn.logsumexp(logits_ZRTX, axis=-1)
    return RouterSums(
        balance_Z.sum(),
        jnp.where(real_ZRT, jnp.square(log_z_ZRT), 0).sum(),
        chosen_ZRTAX.sum((0, 1, 2, 3)).astype(jnp.int32),
        jnp.zeros((), jnp.int32),
    )


def capacity(tokens: int, k: int, experts: int, factor: float) -> int:
    """Slots of an expert for a row of so many tokens: `factor` times an even share."""
    return max(1, -int(-factor * k * tokens // experts))


def places(
    expert_JA: Int[Array, "J A"],
    real_J: Bool[Array, " J"],
    experts: int,
    room: int,
    align: int = 1,
) -> Slots:
    """Gives choices of experts 0 to `experts` - 1 their slots.

    Padding and choices of other experts get none. With `room` every expert has so many
    slots and drops the rest: first choices come before all second ones, then earlier
    tokens before later ones. With room 0 all have a slot, and the run of an expert is
    as long as it must be, in multiples of `align`.
    """
    tokens, k = expert_JA.shape
    known = real_J[:, None] & (expert_JA >= 0) & (expert_JA < experts)
    key_AJ = jnp.where(known, expert_JA, experts).T.reshape(-1)  # in order of priority
    order_AJ = jnp.argsort(key_AJ, stable=True)
    sizes_X = jnp.sum(key_AJ[:, None] == jnp.arange(experts), axis=0, dtype=jnp.int32)
    begin_X = jnp.cumsum(sizes_X) - sizes_X  # of an expert's choices in `order`
    if room:
        slots, runs_X = experts * room, jnp.full(experts, room, jnp.int32)
    else:
        slots = -(-(tokens * k + experts * (align - 1)) // align) * align
        runs_X = -(-sizes_X // align) * align
    start_X = jnp.cumsum(runs_X) - runs_X
    # The slot of each choice.
    rank_AJ = jnp.argsort(order_AJ) - jnp.append(begin_X, 0)[key_AJ]
    has_AJ = (key_AJ < experts) & (rank_AJ < (room or slots))
    slot_AJ = jnp.where(has_AJ, jnp.append(start_X, 0)[key_AJ] + rank_AJ, slots)
    # The choice of each slot.
    slot_M = jnp.arange(slots)
    expert_M = jnp.searchsorted(start_X, slot_M, side="right") - 1
    rank_M = slot_M - start_X[expert_M]
    taken_M = rank_M < jnp.minimum(sizes_X, runs_X)[expert_M]
    place_M = order_AJ[jnp.where(taken_M, begin_X[expert_M] + rank_M, 0)]
    choice_M = place_M % tokens * k + place_M // tokens
    return Slots(
        slot_AJ.reshape(k, tokens).T.astype(jnp.int32),
        jnp.where(taken_M, choice_M, tokens * k).astype(jnp.int32),
        runs_X,
    )


@jax.custom_vjp
def gather(
    x_JD: Float[Array, "J D"], index_M: Int[Array, " M"], back_JA: Int[Array, "J A"]
) -> Float[Array, "M D"]:
    """Row `index` of x, zeros where it is J; `back` are the places of each row of x.

    A place of M is none. The gradient is a gather as well: what came of a row is found
    by `back`, not scattered.
    """
    del back_JA
    return jnp.take(x_JD, index_M, axis=0, mode="fill", fill_value=0)


def _gather_forward(x_JD, index_M, back_JA):
    return gather(x_JD, index_M, back_JA), back_JA


def _gather_backward(back_JA, d_MD):
    d_JAD = jnp.take(d_MD, back_JA, axis=0, mode="fill", fill_value=0)
    d_JD = jnp.sum(d_JAD.astype(jnp.float32), axis=1)
    return d_JD.astype(d_MD.dtype), None, None


gather.defvjp(_gather_forward, _gather_backward)


def dispatch(x_JD: Float[Array, "J D"], slots: Slots) -> Float[Array, "M D"]:
    """The buffer: the token of each slot, zeros in empty ones."""
    return gather(x_JD, slots.choice_M // slots.slot_JA.shape[1], slots.slot_JA)


def combine(
    y_MD: Float[Array, "M D"], slots: Slots, weight_JA: Float32[Array, "J A"]
) -> Float32[Array, "J D"]:
    """The weighted sum of what a token's slots hold; a choice without one adds 0."""
    y = gather(y_MD, slots.slot_JA.reshape(-1), slots.choice_M[:, None])
    y_JAD = y.reshape(*slots.slot_JA.shape, -1).astype(jnp.float32)
    return jnp.sum(y_JAD * weight_JA[..., None], axis=1)

"""The compiled functions of generation, and the loop that lets rows speak.

A batch is compiled for its shape alone: what rows ask for (how many tokens, how they
are chosen, where they stop) are arrays.
"""

import copy
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int32

from mmjax import config as config_lib
from mmjax.batch import Batch
from mmjax.config import Model
from mmjax.generation import weights as weights_lib
from mmjax.models import cached
from mmjax.models.cached import Prompts
from mmjax.ops import cross_entropy, sampling
from mmjax.ops.cross_entropy import TokenLoss
from mmjax.ops.recall import Kept
from mmjax.ops.sampling import Choice

BLOCK = 16  # tokens between two looks at what was said
SCORED = 16  # tokens of a row whose logits exist at the same time


class Asked(NamedTuple):
    """What each row is to say."""

    new_tokens_ZR: Int32[np.ndarray, "Z R"]  # at most; 0: an empty row, says nothing
    stops_ZRA: Int32[np.ndarray, "Z R A"]  # ids that end it; -1: none
    how: Choice


class Speech(NamedTuple):
    """What rows have said so far."""

    kept: tuple[Kept, ...]  # by layer, of all but the last token
    tokens_ZRT: Int32[Array, "Z R T"]  # 0 from each row's count on
    counts_ZR: Int32[Array, "Z R"]  # tokens, without the one that ended the row
    ended_ZR: Bool[Array, "Z R"]
    stop_ZR: Int32[Array, "Z R"]  # the id of its `stops` that ended it; -1: none
    last_ZR: Int32[Array, "Z R"]
    step: Int32[Array, ""]  # tokens chosen in rows that go on


class Generated(NamedTuple):
    """What follows each prompt, on the host."""

    tokens_ZRT: Int32[np.ndarray, "Z R T"]  # 0 from each row's count on
    counts_ZR: Int32[np.ndarray, "Z R"]  # tokens before that id
    stop_ZR: Int32[np.ndarray, "Z R"]  # the stop id that ended it; -1: none


class Continuations(NamedTuple):
    """Texts after each row's prompt, packed: what `score` judges."""

    tokens_ZRT: Int32[np.ndarray, "Z R T"]
    segments_ZRT: Int32[np.ndarray, "Z R T"]  # from 1 on; 0: padding
    offsets_ZRT: Int32[np.ndarray, "Z R T"]  # place in its own continuation


class Speaker(NamedTuple):
    """The compiled functions of a model on a mesh; weights are `prepare`'s."""

    prepare: Callable[[Any], Any]  # parameters -> weights
    # (weights, batch, lengths [Z, R]) -> what is kept of prompts, last hidden states
    read: Callable[..., tuple[Prompts, Array]]
    begin: Callable[..., Speech]  # (weights, hidden, asked, room, kind), with 1 token
    # (weights, prompts, speech, asked, until, kind): to `until` tokens, or to the end
    go_on: Callable[..., Speech]
    # (weights, prompts, hidden, continuations) -> loss of each of their tokens
    score: Callable[..., TokenLoss]


def make(model: Model, mesh: Mesh | None = None, dtype: str = "") -> Speaker:
    """The functions of a model; keys and values are kept as `dtype` ("": activations').

    Nothing is compiled before it is used. Experts drop no token here, whatever the
    capacity is that they were trained with: a row's tokens would depend on later ones.
    Nothing is quantized: to do that to the weights for each token anew would not pay.
    """
    model = config_lib.unquantized(copy.deepcopy(model))
    model.decoder.moe.capacity_factor = 0.0
    dtype = dtype or model.dtype
    compiled = functools.partial(_compiled, mesh)
    return Speaker(
        functools.partial(weights_lib.prepare, model, mesh=mesh),
        compiled(functools.partial(_read, model, dtype)),
        compiled(functools.partial(_begin, model, dtype), static_argnums=(3, 4)),
        compiled(functools.partial(_go_on, model), static_argnums=5, donate_argnums=2),
        compiled(functools.partial(_score, model)),
    )


def _compiled(mesh: Mesh | None, function: Callable, **how: Any) -> Any:
    """The jitted function, on the mesh; what the host looks at comes out whole."""
    if mesh is None:
        return jax.jit(function, **how)
    whole = NamedSharding(mesh, PartitionSpec())

    def on_mesh(*arguments: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            made = function(*arguments)
        if isinstance(made, Speech):
            told = made._replace(kept=())
            told = jax.lax.with_sharding_constraint(told, whole)
            return told._replace(kept=made.kept)
        if isinstance(made, TokenLoss):
            return jax.lax.with_sharding_constraint(made, whole)
        return made

    return jax.jit(on_mesh, **how)


def _read(
    model: Model, dtype: str, weights: Any, batch: Batch, lengths_ZR: Array
) -> tuple[Prompts, Float[Array, "Z R D"]]:
    return cached.read(model, weights, batch, jnp.asarray(lengths_ZR), dtype)


def _begin(
    model: Model,
    dtype: str,
    weights: Any,
    hidden_ZRD: Array,
    asked: Asked,
    room: int,
    kind: str,
) -> Speech:
    rows = hidden_ZRD.shape[0], hidden_ZRD.shape[1]
    zeros = jnp.zeros(rows, jnp.int32)
    nothing = Speech(
        cached.empty(model, rows, room, dtype),
        jnp.zeros((*rows, room), jnp.int32),
        zeros, jnp.asarray(asked.new_tokens_ZR) < 1, zeros - 1, zeros, jnp.int32(0),
    )  # fmt: skip
    return _append(model, weights, nothing, hidden_ZRD, asked, kind)


def _go_on(
    model: Model,
    weights: Any,
    prompts: Prompts,
    speech: Speech,
    asked: Asked,
    until: Array,
    kind: str,
) -> Speech:
    def unfinished(speech: Speech) -> Array:
        return (speech.step < until) & ~speech.ended_ZR.all()

    def advance(speech: Speech) -> Speech:
        slot = speech.step - 1
        news, hidden_ZRD = cached.say(
            model, weights, prompts, speech.kept, speech.last_ZR, slot, ~speech.ended_ZR
        )
        more = _append(model, weights, speech, hidden_ZRD, asked, kind)
        kept = cached.keep(speech.kept, news, slot, more.last_ZR)
        return more._replace(kept=kept)

    return jax.lax.while_loop(unfinished, advance, speech)


def _append(
    model: Model,
    weights: Any,
    speech: Speech,
    hidden_ZRD: Array,
    asked: Asked,
    kind: str,
) -> Speech:
    """What was said and one more token, in rows that go on."""
    logits_ZRV = cached.logits(model, weights, hidden_ZRD)
    next_ZR = sampling.choose(logits_ZRV, asked.how, speech.step, kind)
    stops_ZR = (next_ZR[..., None] == asked.stops_ZRA).any(-1)
    more_ZR = ~speech.ended_ZR & ~stops_ZR
    counts_ZR = speech.counts_ZR + more_ZR
    new_ZR1 = jnp.where(more_ZR, next_ZR, 0)[..., None]
    tokens_ZRT = jax.lax.dynamic_update_slice_in_dim(
        speech.tokens_ZRT, new_ZR1, speech.step, axis=2
    )
    return Speech(
        speech.kept,
        tokens_ZRT,
        counts_ZR,
        ~more_ZR | (counts_ZR >= asked.new_tokens_ZR),
        jnp.where(~speech.ended_ZR & stops_ZR, next_ZR, speech.stop_ZR),
        next_ZR,
        speech.step + 1,
    )


def _score(
    model: Model,
    weights: Any,
    prompts: Prompts,
    hidden_ZRD: Array,
    asked: Continuations,
) -> TokenLoss:
    arrays: Any = jax.tree.map(jnp.asarray, asked)
    followed_ZRTD = cached.follow(model, weights, prompts, *arrays)
    # A continuation's first token is predicted where the prompt ends.
    before_ZRTD = jnp.roll(followed_ZRTD, 1, axis=2)
    first_ZRT1 = (arrays.offsets_ZRT == 0)[..., None]
    hidden_ZRTD = jnp.where(first_ZRT1, hidden_ZRD[:, :, None], before_ZRTD)
    return cross_entropy.chunked(
        hidden_ZRTD,
        weights["unembed_VD"].T,
        arrays.tokens_ZRT,
        SCORED,
        model.decoder.logit_softcap,
    )


def kind_of(how: Choice) -> str:
    """The cheapest way of choosing (a key of `sampling.KINDS`) that serves all rows."""
    warm = np.asarray(how.temperature_ZR) > 0
    cuts = (np.asarray(how.top_k_ZR) > 0) | (np.asarray(how.top_p_ZR) < 1)
    if (warm & cuts).any():
        return "cut"
    return "sampled" if warm.any() else "greedy"


# What was said so far -> the rows that are to end, bool [Z, R].
Watch = Callable[[Generated], np.ndarray]


def speak(
    speaker: Speaker,
    weights: Any,
    batch: Batch,
    lengths_ZR: Int32[np.ndarray, "Z R"],
    asked: Asked,
    room: int,
    watch: Watch | None = None,
) -> Generated:
    """What rows say after their prompts; `room` is the new tokens laid out for.

    `watch` sees all that was said after the first token and then after each BLOCK, and
    names rows that are to end. All processes of a mesh call this in step.
    """
    most = int(asked.new_tokens_ZR.max())
    if not 0 < most <= room:
        raise ValueError(f"new_tokens={most}: must be between 1 and {room}")
    kind = kind_of(asked.how)
    prompts, hidden_ZRD = speaker.read(weights, batch, lengths_ZR)
    speech = speaker.begin(weights, hidden_ZRD, asked, room, kind)
    while True:
        told = jax.device_get(speech._replace(kept=()))
        said = Generated(told.tokens_ZRT, told.counts_ZR, told.stop_ZR)
        if watch is not None:
            ended_ZR = told.ended_ZR | watch(said)
            speech = speech._replace(ended_ZR=ended_ZR)
        else:
            ended_ZR = told.ended_ZR
        if ended_ZR.all() or told.step >= most:
            return said
        until = most if watch is None else min(most, int(told.step) + BLOCK)
        speech = speaker.go_on(weights, prompts, speech, asked, np.int32(until), kind)

"""The model with a memory: it reads prompts once, then only the tokens after them.

Three ways through the same layers: `read` a batch of prompts, `say` one more token of
each row, `follow` rows of several continuations. What a layer keeps of a row are its
keys and values; what lies after the prompt lies in places of its own, so that every
row writes its next token at the same place, however long its prompt is:

    prompt      BOS img img  a   .   .  | red ball EOS  .      (2 places are padding)
    position     0   1   2   3          |  4   5    6   7
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax import config
from mmjax.batch import PAD_SEGMENT, Batch
from mmjax.models import backends, cross_attention, decoder, layers, vlm
from mmjax.models.decoder import Attends, LayerKept
from mmjax.ops import attention, pointwise, recall
from mmjax.ops.attention import Range
from mmjax.ops.recall import Kept, Part, Rule

KEPT = (layers.GROUPS, "fsdp", "tensor", None, None)  # how what is kept lies
ROWS = (layers.GROUPS, "fsdp", None)  # and rows: whole, also on a mesh of `context`


class Prompts(NamedTuple):
    """What is kept of prompts; none of it changes while rows go on."""

    layers: tuple[LayerKept, ...]
    visible_ZRS: Bool[Array, "Z R S"]  # places of each row's last document
    positions_ZRS: Int[Array, "Z R S"]
    last_ZR: Int[Array, "Z R"]  # position of the last token
    sight: Range | None  # [Z, R], the image tokens that its next tokens attend to


class Entrance(nn.Module):
    """The part of `vlm.VLM` before its decoder."""

    model: config.Model

    @nn.compact
    def __call__(self, x_ZRTD: Array, batch: Any):
        return vlm.enter(self.model, x_ZRTD, batch)


def read(
    model: config.Model,
    weights: Any,
    batch: Batch,
    lengths_ZR: Int[Array, "Z R"],
    dtype: str,
) -> tuple[Prompts, Float[Array, "Z R D"]]:
    """Reads prompts: what is kept of them, as `dtype`, and the last hidden states.

    A prompt is the last document of a row's first `lengths` places. `weights` are
    those of `generation.weights`.
    """
    arrays: Any = jax.tree.map(jnp.asarray, batch)
    x_ZRTD, seen = _enter(model, weights, arrays)
    x_ZRTD = layers.pin(x_ZRTD, *ROWS, None)
    end_ZR1 = jnp.maximum(lengths_ZR - 1, 0)[..., None]

    def at_end(x_ZRT: Array) -> Array:
        return jnp.take_along_axis(x_ZRT, end_ZR1, axis=2)[..., 0]

    def keep(k: Array, v: Array) -> Kept:
        return jax.tree.map(lambda x: layers.pin(x, *KEPT), recall.keep(k, v, dtype))

    def within(q: Array, k: Array, v: Array, rule: Rule) -> tuple[Array, Kept]:
        segments = arrays.segments_ZRT
        return _in_groups(model, q, k, v, segments, None, True, rule), keep(k, v)

    def of_images(q: Array, k: Array, v: Array, rule: Rule) -> tuple[Array, Kept]:
        assert seen is not None
        return _in_groups(model, q, k, v, None, seen.keys, False, rule), keep(k, v)

    attends = [Attends(within, of_images)] * model.decoder.layers
    rows = arrays.segments_ZRT, arrays.positions_ZRT
    hidden_ZRTD, kept = _through(model, weights, x_ZRTD, *rows, seen, attends)
    segment_ZR = at_end(arrays.segments_ZRT)
    inside_ZRS = jnp.arange(x_ZRTD.shape[2]) < lengths_ZR[..., None]
    prompts = Prompts(
        kept,
        inside_ZRS & (arrays.segments_ZRT == segment_ZR[..., None]),
        arrays.positions_ZRT,
        at_end(arrays.positions_ZRT),
        seen and jax.tree.map(at_end, seen.keys),
    )
    index = jnp.broadcast_to(end_ZR1[..., None], (*lengths_ZR.shape, 1, 1))
    return prompts, jnp.take_along_axis(hidden_ZRTD, index, axis=2)[:, :, 0]


def empty(model: config.Model, rows: tuple[int, int], room: int, dtype: str) -> Any:
    """A tuple of `Kept`, one a layer, for so many new tokens of rows [Z, R]."""
    shape = (*rows, model.decoder.kv_heads, room, model.decoder.head_size)

    def zeros() -> Array:
        return layers.pin(jnp.zeros(shape, dtype), *KEPT)

    return tuple(Kept(zeros(), zeros()) for _ in range(model.decoder.layers))


def say(
    model: config.Model,
    weights: Any,
    prompts: Prompts,
    said: Sequence[Kept],
    tokens_ZR: Int[Array, "Z R"],
    slot: Int[Array, ""],
    alive_ZR: Bool[Array, "Z R"],
) -> tuple[tuple[Kept, ...], Float[Array, "Z R D"]]:
    """One more token of each row, the one after `slot` others.

    What is to be kept of it, for `keep`, and its hidden states. Rows that aren't alive
    are padding.
    """
    place_T = jnp.arange(said[0].k_ZRKSH.shape[3])
    positions_ZRT = (prompts.last_ZR + 1 + slot)[..., None]

    def visible_said(window: int) -> Array:
        seen_T = place_T < slot
        if window:
            seen_T &= slot - place_T < window
        return seen_T[None, None, None]

    itself = jnp.ones((1, 1, 1, 1), bool)

    def row(layer: int) -> recall.Attend:
        def attend(q: Array, k: Array, v: Array, rule: Rule) -> tuple[Array, Kept]:
            past = said[layer]
            new = recall.keep(k, v, str(past.k_ZRKSH.dtype))
            parts = (
                _before(prompts, layer, positions_ZRT, rule.window),
                Part(past, visible_said(rule.window)),
                Part(new, itself),
            )
            return recall.attend(q, parts, rule), new

        return attend

    x_ZRTD = decoder.look_up(model, weights["embedding"], tokens_ZR[..., None])
    segments_ZRT = jnp.where(alive_ZR, 1, PAD_SEGMENT)[..., None]
    hidden_ZRTD, kept = _after(
        model, weights, prompts, x_ZRTD, segments_ZRT, positions_ZRT, row
    )
    return tuple(layer.row for layer in kept), hidden_ZRTD[:, :, 0]


def keep(
    said: Sequence[Kept],
    news: Sequence[Kept],
    slot: Int[Array, ""],
    next_ZR: Int[Array, "Z R"],
) -> tuple[Kept, ...]:
    """What is kept of rows, with what `say` found for the token at `slot`.

    It is written behind all that reads it: with `next_ZR`, the tokens that were chosen
    since, known. XLA copies it twice a token for each layer, where it can't tell.
    """
    if layers.on_one_device():
        # CPUs' compiler drops barriers before it looks, and doesn't know that ids
        # aren't negative.
        slot += jnp.minimum(next_ZR.reshape(-1)[0], 0)
    else:
        said, news, _ = jax.lax.optimization_barrier(
            (tuple(said), tuple(news), next_ZR)
        )
    return tuple(recall.write(past, new, slot) for past, new in zip(said, news))


def follow(
    model: config.Model,
    weights: Any,
    prompts: Prompts,
    tokens_ZRT: Int[Array, "Z R T"],
    segments_ZRT: Int[Array, "Z R T"],
    offsets_ZRT: Int[Array, "Z R T"],
) -> Float[Array, "Z R T D"]:
    """Hidden states of continuations, those of one prompt packed into one row.

    `segments` numbers them from 1 (0: padding), `offsets` counts each one's tokens.
    """
    positions_ZRT = prompts.last_ZR[..., None] + 1 + offsets_ZRT
    distance_ZRTS = positions_ZRT[..., :, None] - positions_ZRT[..., None, :]
    own_ZRTS = segments_ZRT[..., :, None] == segments_ZRT[..., None, :]
    own_ZRTS &= distance_ZRTS >= 0

    def row(layer: int) -> recall.Attend:
        def attend(q: Array, k: Array, v: Array, rule: Rule) -> tuple[Array, Kept]:
            kept = recall.keep(k, v, str(prompts.layers[layer].row.k_ZRKSH.dtype))
            visible = own_ZRTS
            if rule.window:
                visible &= distance_ZRTS < rule.window
            before = _before(prompts, layer, positions_ZRT, rule.window)
            return recall.attend(q, (before, Part(kept, visible)), rule), kept

        return attend

    x_ZRTD = decoder.look_up(model, weights["embedding"], tokens_ZRT)
    rows = x_ZRTD, segments_ZRT, positions_ZRT
    return _after(model, weights, prompts, *rows, row)[0]


def logits(
    model: config.Model, weights: Any, hidden: Float[Array, "Z R D"]
) -> Float[Array, "Z R V"]:
    """Logits of hidden states, float32, capped as in the loss."""
    found = jnp.einsum(
        "VD,ZRD->ZRV",
        weights["unembed_VD"].astype(hidden.dtype),
        hidden,
        preferred_element_type=jnp.float32,
    )
    return pointwise.softcapped(found, model.decoder.logit_softcap)


def _enter(model: config.Model, weights: Any, arrays: Any) -> tuple[Array, Any]:
    """What the decoder reads; rows without any image slot are text alone."""
    x_ZRTD = decoder.look_up(model, weights["embedding"], arrays.tokens_ZRT)
    if not arrays.real_ZC.shape[1]:
        return x_ZRTD, None
    return Entrance(model).apply({"params": weights["images"]}, x_ZRTD, arrays)  # pyright: ignore[reportReturnType]


def _in_groups(model, q, k, v, segments, keys, causal: bool, rule: Rule) -> Array:
    """Attention within rows; the kernel, which is for training, isn't for it."""
    return attention.in_groups(
        q, k, v, segments, None, keys, causal=causal, backend=backends.cross(model),
        block=model.attention_block, **rule._asdict(),
    )  # fmt: skip


def _before(
    prompts: Prompts, layer: int, positions_ZRT: Array, window: int
) -> recall.Part:
    """The prompt's places as a layer's new tokens see them."""
    visible = prompts.visible_ZRS[..., None, :]
    if window:
        near = positions_ZRT[..., None] - prompts.positions_ZRS[..., None, :] < window
        visible &= near
    return Part(prompts.layers[layer].row, visible)


def _after(
    model: config.Model,
    weights: Any,
    prompts: Prompts,
    x_ZRTD: Array,
    segments_ZRT: Array,
    positions_ZRT: Array,
    row: Callable[[int], recall.Attend],
) -> tuple[Array, tuple[LayerKept, ...]]:
    """Tokens after the prompts through the layers; `row` attends for each of them."""
    seen = None
    if prompts.sight is not None:  # what is kept of images takes the place of these
        nothing = jnp.zeros((*x_ZRTD.shape[:2], 0, x_ZRTD.shape[-1]), x_ZRTD.dtype)
        seen = cross_attention.Seen(nothing, prompts.sight)
    attends = [
        Attends(row(layer), _of_images(prompts, layer))
        for layer in range(model.decoder.layers)
    ]
    x_ZRTD = layers.pin(x_ZRTD, *ROWS, None)
    rows = x_ZRTD, segments_ZRT, positions_ZRT
    return _through(model, weights, *rows, seen, attends)


def _of_images(prompts: Prompts, layer: int) -> recall.Attend:
    """Attention of new tokens to the images that the prompt's last one sees."""

    def attend(q: Array, k: Array, v: Array, rule: Rule) -> tuple[Array, Kept]:
        del k, v
        kept, sight = prompts.layers[layer].images, prompts.sight
        assert kept is not None
        assert sight is not None
        place_S = jnp.arange(kept.k_ZRKSH.shape[3])
        first, stop = (x[..., None, None] for x in sight)
        visible = (first <= place_S) & (place_S < stop)
        return recall.attend(q, [Part(kept, visible)], rule), kept

    return attend


def _through(
    model: config.Model,
    weights: Any,
    x_ZRTD: Array,
    segments_ZRT: Array,
    positions_ZRT: Array,
    seen: cross_attention.Seen | None,
    attends: Sequence[Attends],
) -> tuple[Float[Array, "Z R T D"], tuple[LayerKept, ...]]:
    """The decoder's layers one by one: normed hidden states, and what each keeps."""
    turns = decoder.turns_of(model.decoder, positions_ZRT)
    period, kept = config.layer_period(model.decoder), []
    for layer, (params, attend) in enumerate(zip(weights["layers"], attends)):
        block: Any = decoder.Block(model, layer % period)
        row = x_ZRTD, segments_ZRT, turns, seen, attend
        x_ZRTD, of_layer = block.apply({"params": params}, *row)
        kept.append(of_layer)
    norm: Any = decoder.make_norm(model.decoder)(model.decoder.width)
    return norm.apply({"params": weights["norm"]}, x_ZRTD), tuple(kept)

"""Greedy generation: the most likely continuation of prompts of text and images.

The whole row is computed anew for each token, at one fixed shape, inside one compiled
loop; rows that ended wait for the others.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Int32

from mmjax.batch import NO_IMAGE, NO_TEXT, OF_SLOTS, Batch
from mmjax.models.vlm import Model


class Generated(NamedTuple):
    """What follows each prompt."""

    tokens_ZRT: Int32[Array, "Z R T"]  # T new tokens; 0 from each row's count on
    counts_ZR: Int32[Array, "Z R"]  # tokens before the stop token
    stopped_ZR: Bool[Array, "Z R"]  # False: `new_tokens` came first


class _Loop(NamedTuple):
    """What the loop carries from one token to the next."""

    batch: Batch
    generated: Generated
    step: Int32[Array, ""]


def greedy(
    model: Model,
    params: Any,
    batch: Batch,
    lengths_ZR: Int32[np.ndarray, "Z R"],
    new_tokens: int,
    stop: Sequence[int],
    mesh: Mesh | None = None,
) -> Generated:
    """The most likely token after each row's prompt, `new_tokens` times.

    A row of `batch` holds one prompt in its first `lengths_ZR` positions (0: an empty
    row, left alone) and at least `new_tokens` free positions after it. A row ends
    before the first token that is in `stop`. `mesh` is where `params` and `batch` lie
    (None: on one device); the result is whole on every process. ValueError where a row
    has no room.
    """
    room = batch.tokens_ZRT.shape[-1] - int(np.max(lengths_ZR))
    if not 0 < new_tokens <= room:
        raise ValueError(
            f"new_tokens={new_tokens}: must be between 1 and the {room} positions that "
            f"the longest prompt leaves of a row of {batch.tokens_ZRT.shape[-1]}"
        )
    static = (model, new_tokens, tuple(stop), mesh)
    return _greedy(*static, params, batch, np.asarray(lengths_ZR, np.int32))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _greedy(
    model: Model,
    new_tokens: int,
    stop: tuple[int, ...],
    mesh: Mesh | None,
    params: Any,
    batch: Batch,
    lengths_ZR: Int32[Array, "Z R"],
) -> Generated:
    if mesh is None:
        return _decode(model, new_tokens, stop, params, batch, lengths_ZR)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        generated = _decode(model, new_tokens, stop, params, batch, lengths_ZR)
    return jax.lax.with_sharding_constraint(
        generated, NamedSharding(mesh, PartitionSpec())
    )


def _decode(
    model: Model,
    new_tokens: int,
    stop: tuple[int, ...],
    params: Any,
    batch: Batch,
    lengths_ZR: Int32[Array, "Z R"],
) -> Generated:
    rows = lengths_ZR.shape
    start = _Loop(
        batch,
        Generated(
            jnp.zeros((*rows, new_tokens), jnp.int32),
            jnp.zeros(rows, jnp.int32),
            lengths_ZR == 0,
        ),
        jnp.int32(0),
    )

    def unfinished(loop: _Loop) -> Bool[Array, ""]:
        return (loop.step < new_tokens) & ~loop.generated.stopped_ZR.all()

    def advance(loop: _Loop) -> _Loop:
        place_ZR = lengths_ZR + loop.step
        next_ZR = _most_likely(model, params, loop.batch, place_ZR - 1)
        generated = _append(loop.generated, next_ZR, loop.step, stop)
        return _Loop(
            _write(loop.batch, place_ZR, next_ZR, ~generated.stopped_ZR),
            generated,
            loop.step + 1,
        )

    return jax.lax.while_loop(unfinished, advance, start).generated


def _most_likely(
    model: Model, params: Any, batch: Batch, place_ZR: Int32[Array, "Z R"]
) -> Int32[Array, "Z R"]:
    """The most likely token after each row's position `place_ZR`.

    A cap of the logits grows with them, so it changes no order and is left out.
    """
    outputs = model.apply(params, batch)
    index_ZR11 = jnp.maximum(place_ZR, 0)[:, :, None, None]
    hidden_ZRD = jnp.take_along_axis(outputs.hidden_ZRTD, index_ZR11, axis=2)[:, :, 0]
    logits_ZRV = jnp.einsum(
        "ZRD,DV->ZRV",
        hidden_ZRD,
        outputs.unembed_DV.astype(hidden_ZRD.dtype),
        preferred_element_type=jnp.float32,
    )
    return jnp.argmax(logits_ZRV, axis=-1).astype(jnp.int32)


def _append(
    generated: Generated,
    next_ZR: Int32[Array, "Z R"],
    step: Int32[Array, ""],
    stop: tuple[int, ...],
) -> Generated:
    """The tokens so far and the next one, in rows that go on."""
    stops_ZR = jnp.isin(next_ZR, jnp.array(stop, jnp.int32))
    goes_on_ZR = ~generated.stopped_ZR & ~stops_ZR
    return Generated(
        generated.tokens_ZRT.at[:, :, step].set(jnp.where(goes_on_ZR, next_ZR, 0)),
        generated.counts_ZR + goes_on_ZR,
        generated.stopped_ZR | stops_ZR,
    )


def _write(
    batch: Batch,
    place_ZR: Int32[Array, "Z R"],
    next_ZR: Int32[Array, "Z R"],
    goes_on_ZR: Bool[Array, "Z R"],
) -> Batch:
    """The batch with one more text position in every row that goes on."""
    index_T = jnp.arange(batch.tokens_ZRT.shape[-1])
    here_ZRT = (index_T == place_ZR[..., None]) & goes_on_ZR[..., None]
    return batch._replace(
        tokens_ZRT=jnp.where(here_ZRT, next_ZR[..., None], batch.tokens_ZRT),
        segments_ZRT=jnp.where(here_ZRT, 1, batch.segments_ZRT),
        positions_ZRT=jnp.where(here_ZRT, index_T, batch.positions_ZRT),
        images_ZRT=jnp.where(here_ZRT, NO_IMAGE, batch.images_ZRT),
    )


def pad(batch: Batch, groups: int, rows: int, slots: int) -> Batch:
    """A host batch with empty groups, rows and slots added, so that a mesh divides it.

    Z becomes a multiple of `groups`, R of `rows` and C of `slots`.
    """

    def add(array: np.ndarray, multiples: tuple[int, ...], value: int) -> np.ndarray:
        width = np.zeros((array.ndim, 2), np.int64)
        width[: len(multiples), 1] = [
            -size % m for size, m in zip(array.shape, multiples)
        ]
        return np.pad(array, width, constant_values=value)

    fills = {"images_ZRT": NO_IMAGE, "texts_ZCW": NO_TEXT}
    multiples = {str(name): (groups, slots) for name in OF_SLOTS}
    return Batch(
        **{
            name: add(array, multiples.get(name, (groups, rows)), fills.get(name, 0))
            for name, array in batch._asdict().items()
        }
    )

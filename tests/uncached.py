"""The reference of generation: the whole row again for each token, nothing kept."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import model_samples
import numpy as np

from mmjax import config
from mmjax.batch import NO_IMAGE, Batch
from mmjax.generation import speaker
from mmjax.models import vlm
from mmjax.ops.sampling import Choice


def greedy(
    model: config.Model, params: Any, batch: Batch, lengths: Sequence[int], new: int
) -> list[list[int]]:
    """The most likely tokens after each row's prompt (one group)."""
    apply = jax.jit(vlm.build(model).apply)
    batch = jax.tree.map(np.array, batch)
    found: list[list[int]] = [[] for _ in lengths]
    for step in range(new):
        outputs = apply(params, batch)
        for row, length in enumerate(lengths):
            place = length + step
            logits_V = outputs.hidden_ZRTD[0, row, place - 1] @ outputs.unembed_DV
            found[row].append(int(jnp.argmax(logits_V)))
            write(batch, row, place, found[row][-1])
    return found


def write(batch: Batch, row: int, place: int, token: int) -> None:
    """One more text token of a row's last document."""
    batch.tokens_ZRT[0, row, place] = token
    batch.segments_ZRT[0, row, place] = batch.segments_ZRT[0, row, place - 1]
    batch.positions_ZRT[0, row, place] = batch.positions_ZRT[0, row, place - 1] + 1
    batch.images_ZRT[0, row, place] = NO_IMAGE


def prompts(
    rows: list[list[list]], slots: int, positions_of_image: int, room: int
) -> tuple[Batch, list[int]]:
    """A batch of one group with `room` free places after its longest row; lengths."""
    lengths = [
        sum(positions_of_image if isinstance(x, str) else 1 for d in row for x in d)
        for row in rows
    ]
    tokens = max(lengths) + room
    batch = model_samples.batch(
        rows, tokens, slots, positions_of_image=positions_of_image
    )
    return batch, lengths


def asked(
    rows: int, new: int | Sequence[int], stops: Sequence[int] = (-1,), **how: Any
) -> speaker.Asked:
    """What rows of one group ask for; by default the most likely tokens."""

    def each(value: Any, dtype: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, dtype), (1, rows)).copy()

    return speaker.Asked(
        each(new, np.int32),
        np.broadcast_to(np.asarray(stops, np.int32), (1, rows, len(stops))).copy(),
        Choice(
            each(how.get("temperature", 0.0), np.float32),
            each(how.get("top_k", 0), np.int32),
            each(how.get("top_p", 1.0), np.float32),
            each(how.get("seed", 0), np.uint32),
        ),
    )

"""Accuracy on question documents, by type, beside what guessing would reach.

A document is right if every token of its answer, the end included, is the model's most
likely one given the true tokens before it. That is the case exactly if greedy decoding
gives exactly that answer: the first token that differs is wrong in both. So one forward
pass scores a packed batch of questions, and nothing is generated.

A second pass with the images exchanged shows whether the image is used: accuracy that
does not fall to about the baseline there, or a baseline as high as the accuracy, is no
sight. Questions are exchanged only where every image of theirs really became another.
"""

import collections
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt8

from mmjax.batch import Batch
from mmjax.evals import heldout

# (source, document number) of each segment of each row, nested [Z][R][segments].
Documents = Sequence[Sequence[Sequence[tuple[int, int]]]]

Held = jax.Array | np.ndarray  # on the devices, or fetched


class Score(NamedTuple):
    """How one type of question was answered."""

    questions: int
    accuracy: float  # share answered exactly
    low: float  # 95 % Wilson interval of the accuracy
    high: float
    baseline: float  # share of the most common answer
    exchanged_questions: int  # those whose every image could be exchanged
    exchanged_accuracy: float | None  # None: questions without images


class Reply(NamedTuple):
    """One question: the answer that is asked for and whether it was given."""

    answer: tuple[int, ...]  # token ids, end of document included
    right: bool
    exchanged_right: bool  # also with the images exchanged
    images: int  # crops of its images
    changed: int  # those of them in whose place one of another image could be put

    @property
    def exchanged(self) -> bool:
        return 0 < self.images == self.changed


def evaluate(
    eval_step: heldout.EvalStep,
    params: Any,
    batches: Iterable[tuple[Batch, Documents]],
    kind_of: Callable[[int, int], str],
    crop_positions: int,
    crops: int = 1,
) -> dict[str, Score]:
    """Score of every type of question, types in alphabetical order.

    `kind_of(source, document)` names the type; a crop takes `crop_positions` of a row
    (`config.crop_positions`), and an image has at most so many `crops`. Batches are
    global, and all processes call this in step. Documents in which no position counts
    are left out.
    """
    replies: dict[tuple[int, int], Reply] = {}
    for batch, documents in batches:
        for key, reply in _replies(
            eval_step, params, batch, documents, crop_positions, crops
        ):
            replies[key] = _join(replies[key], reply) if key in replies else reply
    kinds = collections.defaultdict(list)
    for key, reply in replies.items():
        if reply.answer:
            kinds[kind_of(*key)].append(reply)
    return {kind: score(kinds[kind]) for kind in sorted(kinds)}


def score(replies: Sequence[Reply]) -> Score:
    """The figures of one type of question (at least one)."""
    right = sum(reply.right for reply in replies)
    exchanged = [reply for reply in replies if reply.exchanged]
    answers = collections.Counter(reply.answer for reply in replies)
    low, high = wilson(right, len(replies))
    return Score(
        questions=len(replies),
        accuracy=right / len(replies),
        low=low,
        high=high,
        baseline=answers.most_common(1)[0][1] / len(replies),
        exchanged_questions=len(exchanged),
        exchanged_accuracy=sum(r.exchanged_right for r in exchanged) / len(exchanged)
        if exchanged
        else None,
    )


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a share; by default the 95 % one."""
    share = right / count
    scale = 1 / (1 + z * z / count)
    middle = scale * (share + z * z / (2 * count))
    spread = scale * z * math.sqrt((share * (1 - share) + z * z / (4 * count)) / count)
    return max(0.0, middle - spread), min(1.0, middle + spread)


def exchange(
    pixels_ZChwc: UInt8[Array, "Z C h w c"],
    real_ZC: Bool[Array, "Z C"],
    crops: int = 1,
) -> tuple[UInt8[Array, "Z C h w c"], Bool[Array, "Z C"]]:
    """Images moved by half of their group's real slots, and which of them changed.

    Half, not one: the neighbour is often an image of the same document. The real slots
    of a group come first. A slot has not changed if its group has no other image or the
    same image stands there, or if a crop of its own image may: of `crops` in a row.
    """
    count_Z1 = real_ZC.sum(-1, keepdims=True)
    slot_1C = jnp.arange(real_ZC.shape[1])[None]
    shift_Z1 = jnp.maximum(1, count_Z1 // 2)
    moved_ZC = (slot_1C + shift_Z1) % jnp.maximum(1, count_Z1)
    far_Z1 = (shift_Z1 >= crops) & (count_Z1 - shift_Z1 >= crops)
    from_ZC = jnp.where(real_ZC, moved_ZC, slot_1C)
    other_ZChwc = jax.vmap(lambda pixels, index: pixels[index])(pixels_ZChwc, from_ZC)
    return other_ZChwc, (other_ZChwc != pixels_ZChwc).any((2, 3, 4)) & far_Z1


def exchanged(batch: Batch, crops: int = 1) -> tuple[Batch, Bool[Array, "Z C"]]:
    """The batch after `exchange`, laid out on the devices as it was."""
    layout = getattr(batch.pixels_ZChwc, "sharding", None)
    moved = jax.jit(exchange, static_argnums=2, out_shardings=(layout, None))
    other_ZChwc, changed_ZC = moved(batch.pixels_ZChwc, batch.real_ZC, crops)
    return batch._replace(pixels_ZChwc=other_ZChwc), changed_ZC


class _Seen(NamedTuple):
    """What the host must know of a batch, from both passes."""

    hit_ZRT: Bool[Held, "Z R T"]
    other_hit_ZRT: Bool[Held, "Z R T"]  # with the images exchanged
    changed_ZC: Bool[Held, "Z C"]
    mask_ZRT: Bool[Held, "Z R T"]
    segments_ZRT: Int32[Held, "Z R T"]
    images_ZRT: Int32[Held, "Z R T"]
    targets_ZRT: Int32[Held, "Z R T"]


def _replies(
    eval_step: heldout.EvalStep,
    params: Any,
    batch: Batch,
    documents: Documents,
    crop_positions: int,
    crops: int,
) -> Iterable[tuple[tuple[int, int], Reply]]:
    """Yields the reply of every segment of a batch, keyed by its document."""
    other, changed_ZC = exchanged(batch, crops)
    seen = heldout.fetch(
        _Seen(
            eval_step(params, batch).hit_ZRT,
            eval_step(params, other).hit_ZRT,
            changed_ZC,
            batch.loss_mask_ZRT,
            batch.segments_ZRT,
            batch.images_ZRT,
            batch.targets_ZRT,
        )
    )
    for z, group in enumerate(documents):
        for r, row in enumerate(group):
            for segment, key in enumerate(row, 1):
                yield key, _reply(seen, z, r, segment, crop_positions)


def _reply(seen: _Seen, z: int, r: int, segment: int, crop_positions: int) -> Reply:
    """The reply of one segment of a row."""
    where_T = seen.segments_ZRT[z, r] == segment
    counted_T = where_T & seen.mask_ZRT[z, r]
    images_T = seen.images_ZRT[z, r][where_T]
    slots = np.unique(images_T[images_T >= 0] // crop_positions)
    return Reply(
        tuple(int(token) for token in seen.targets_ZRT[z, r][counted_T]),
        bool(seen.hit_ZRT[z, r][counted_T].all()),
        bool(seen.other_hit_ZRT[z, r][counted_T].all()),
        len(slots),
        int(seen.changed_ZC[z, slots].sum()),
    )


def _join(first: Reply, second: Reply) -> Reply:
    """The reply of a document that was split over two rows."""
    return Reply(
        first.answer + second.answer,
        first.right and second.right,
        first.exchanged_right and second.exchanged_right,
        first.images + second.images,
        first.changed + second.changed,
    )

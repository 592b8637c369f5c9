"""`Batch`: what a data pipeline hands to the model, and the only thing they share."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, UInt8

PAD_SEGMENT = 0  # segment id of a position that belongs to no document
NO_IMAGE = -1  # image index of a position that holds text
NEWLINE = -2  # and of one that holds the learned vector which ends a row of an image
NO_TEXT = -1  # id where the text beside an image has ended


class Batch(NamedTuple):
    """One step's input, laid out by pool groups; host numpy arrays or `jax.Array`s.

    A row packs several documents. `segments` numbers them from 1 and is 0 on padding;
    `positions` restarts at 0 in each document (or in each part of a split one). Where
    `images` is 0 or more the position holds image token `images % Q` of the slot
    `images // Q` of its own group; where it is not -1, its entry in `tokens` is the
    tokenizer's image id. (With cross-attention an image's one position marks where it
    stands, and holds its slot.) `targets` is shifted inside each document, so a
    position never predicts another document's token; `loss_mask` is True exactly where
    a target counts. `texts` is what a connector reads beside each slot; W is 0 where it
    reads nothing.
    """

    tokens_ZRT: Int32[np.ndarray, "Z R T"]
    targets_ZRT: Int32[np.ndarray, "Z R T"]
    loss_mask_ZRT: Bool[np.ndarray, "Z R T"]
    segments_ZRT: Int32[np.ndarray, "Z R T"]
    positions_ZRT: Int32[np.ndarray, "Z R T"]
    images_ZRT: Int32[np.ndarray, "Z R T"]
    sources_ZRT: Int32[np.ndarray, "Z R T"]  # place in config.data.sources
    pixels_ZChwc: UInt8[np.ndarray, "Z C h w c"]
    real_ZC: Bool[np.ndarray, "Z C"]  # the slot holds an image of some document
    texts_ZCW: Int32[np.ndarray, "Z C W"]  # ids, NO_TEXT after the last


# The arrays of image slots; the others are of rows.
OF_SLOTS: tuple[str, ...] = ("pixels_ZChwc", "real_ZC", "texts_ZCW")
_EMPTY = {"images_ZRT": NO_IMAGE, "texts_ZCW": NO_TEXT}  # what is nothing; else 0


def padded(batch: Batch, groups: int, rows: int, slots: int) -> Batch:
    """A host batch with empty groups, rows and slots added, up to so many of each.

    Those that it has already stay where they are.
    """

    def add(array: np.ndarray, sizes: tuple[int, int], value: int) -> np.ndarray:
        width = np.zeros((array.ndim, 2), np.int64)
        width[:2, 1] = np.subtract(sizes, array.shape[:2])
        return np.pad(array, width, constant_values=value)

    return Batch(
        **{
            name: add(
                array,
                (groups, slots if name in OF_SLOTS else rows),
                _EMPTY.get(name, 0),
            )
            for name, array in batch._asdict().items()
        }
    )


def cut(batch: Batch, tokens: int) -> Batch:
    """The first so many tokens of every row; beyond a row's end, padding."""

    def each(name: str, array: np.ndarray) -> np.ndarray:
        if name in OF_SLOTS:
            return array
        more = max(0, tokens - array.shape[2])
        wide = np.pad(
            array, ((0, 0), (0, 0), (0, more)), constant_values=_EMPTY.get(name, 0)
        )
        return wide[:, :, :tokens]

    return Batch(**{name: each(name, x) for name, x in batch._asdict().items()})


class Share(NamedTuple):
    """The box of a global batch that one process holds, as half-open ranges.

    The arrays of a `Batch` made for a share have the box's shape; image indices still
    count within the whole group.
    """

    groups: tuple[int, int]  # of Z
    rows: tuple[int, int]  # of R
    slots: tuple[int, int]  # of C

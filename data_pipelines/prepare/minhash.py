"""MinHash of a text, and the keys under which near duplicates meet.

Two texts agree in about as many places of their signatures as they share runs of five
words: the Jaccard similarity of the two sets (Broder, 1997). A signature is cut into
bands; a pair of similarity s has at least one equal band with probability
1 - (1 - s**ROWS)**BANDS: 0.82 at 0.75, 0.95 at 0.8, 0.9999 at 0.9, 0.06 at 0.5. Runs of
five words and bands of eight are FineWeb's (Penedo et al., 2024), with 16 bands for 14.
"""

import hashlib

import numpy as np

from data_pipelines.prepare import words

RUN = 5  # words
BANDS, ROWS = 16, 8
PLACES = BANDS * ROWS
_CHUNK = 512  # runs at a time: a chunk's products, 512 KiB, stay in a core's cache
_LARGEST = np.uint32(0xFFFFFFFF)

# Every place hashes a run x to the upper half of factor * x + term (Dietzfelbinger
# et al., 1997). Constants come from counting, not from a generator of numpy's.
_SEEDS = words.mixed(
    np.arange(1, 2 * PLACES + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
)
_FACTORS = _SEEDS[:PLACES] | np.uint64(1)
_TERMS = _SEEDS[PLACES:]


def signature(text: str) -> np.ndarray:
    """The text's signature (uint32, [PLACES]).

    A text of fewer than RUN words is one run. A text without words has no signature
    (every place is the largest number) and no bands.
    """
    listed = words.words(text)
    found = words.runs(words.hashes(listed), min(RUN, len(listed)) or 1)
    lowest = np.full(PLACES, _LARGEST, np.uint32)
    for start in range(0, len(found), _CHUNK):
        products = found[start : start + _CHUNK, None] * _FACTORS + _TERMS
        values = (products >> np.uint64(32)).astype(np.uint32)
        np.minimum(lowest, values.min(axis=0), out=lowest)
    return lowest


def bands(signed: np.ndarray) -> tuple[bytes, ...]:
    """Keys of a signature, 9 bytes each; near duplicates share at least one."""
    if (signed == _LARGEST).all():
        return ()
    rows = signed.astype("<u4").reshape(BANDS, ROWS)
    return tuple(
        bytes([band]) + hashlib.blake2b(row.tobytes(), digest_size=8).digest()
        for band, row in enumerate(rows)
    )


def similarities(signed: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Estimated Jaccard similarity of a signature to each of others ([n, PLACES])."""
    return (others == signed).mean(axis=-1)

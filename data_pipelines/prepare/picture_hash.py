"""Perceptual hash of an image: 64 bits that survive resizing and recompression.

The signs of the lowest frequencies of a small grey version against their median
(pHash: Zauner, 2010). Flips, turns and strong crops change it. Of 499,500 pairs of
different Flickr photos none differs in fewer than 12 bits; resizing, recompressing and
cropping 2 % change up to 6. Screenshots and plots of one layout may differ in 4 or
fewer: a distance of 2 tells most of them apart.
"""

import itertools

import cv2
import numpy as np

from data_pipelines import images

BITS = 64
DISTANCE = 4  # bits in which near duplicates may differ
_DECODED = 128  # pixels a side; first this, since decoders shrink large JPEGs coarsely
_GREY = 32
_LOWEST = 8  # frequencies a side: 8 x 8 = BITS
_PLAIN = 2.0  # standard deviation in grey levels below which there is nothing to see


def perceptual(data: bytes) -> int | None:
    """The hash of an encoded image, which should be upright (`photos.convert`).

    None where it can't be decoded, or is so plain that it can't be compared.
    """
    pixels_hwc = np.empty((_DECODED, _DECODED, 3), np.uint8)
    if not images.decode(data, pixels_hwc):
        return None
    grey = cv2.cvtColor(pixels_hwc, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (_GREY, _GREY), interpolation=cv2.INTER_AREA)
    if grey.std() < _PLAIN:
        return None
    # Rounded, so that the last digits of a platform's cosine can't turn a bit.
    lowest = np.rint(cv2.dct(grey.astype(np.float64))[:_LOWEST, :_LOWEST]).ravel()
    bits = lowest > np.median(lowest[1:])  # the first is the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def keys(
    hashed: int, distance: int = DISTANCE, intact: int = 2
) -> tuple[tuple[int, int], ...]:
    """Keys of which hashes that differ in at most `distance` bits share at least one.

    The bits are cut into distance + intact blocks. However the differing bits fall,
    `intact` blocks are equal; there is a key for every choice of them (Manku et al.,
    2007). A larger `intact` gives more keys and smaller groups: with distance 4,
    2 gives 15 keys of 20 bits or more, 4 gives 70 keys of 32 bits.
    """
    blocks = distance + intact
    if distance < 0 or intact < 1 or blocks > BITS:
        rule = f"intact must be at least 1, and both together at most {BITS}"
        raise ValueError(f"distance {distance} with {intact} blocks intact: {rule}")
    edges = [BITS * block // blocks for block in range(blocks + 1)]
    masks = [(1 << stop) - (1 << start) for start, stop in itertools.pairwise(edges)]
    return tuple(
        (number, hashed & sum(chosen))
        for number, chosen in enumerate(itertools.combinations(masks, intact))
    )


def distances(hashed: int, others: np.ndarray) -> np.ndarray:
    """In how many bits a hash differs from each of others (uint64, [n])."""
    return np.bitwise_count(others ^ np.uint64(hashed))

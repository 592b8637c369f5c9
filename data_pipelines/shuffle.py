"""A global shuffle in no memory: each place's document is computed, not looked up.

A Feistel network over the bits of a place is a permutation of all numbers of so many
bits, whatever its round function does (M. Luby and C. Rackoff, 1988); where it leaves
the range it is applied again until it is back inside (J. Black and P. Rogaway, Ciphers
with arbitrary finite domains, 2002). Numpy integers wrap, so it is the same for ever.
"""

import hashlib

import numpy as np

_ROUNDS = 8
_FIRST, _SECOND = (np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9))
_SHIFT = np.uint64(32)


def permute(places: np.ndarray, size: int, key: str) -> np.ndarray:
    """The number of [0, size) at each place of a shuffle, int64, shape of `places`.

    `places` lie in [0, size); the key names the shuffle.
    """
    bits = max(size - 1, 0).bit_length()
    keys = _keys(key)
    values = places.astype(np.uint64)
    outside = np.arange(values.size)
    while len(outside):
        values[outside] = _feistel(values[outside], bits, keys)
        outside = outside[values[outside] >= size]
    return values.astype(np.int64)


def _keys(key: str) -> np.ndarray:
    digest = hashlib.blake2b(key.encode(), digest_size=8 * _ROUNDS).digest()
    return np.frombuffer(digest, "<u8").astype(np.uint64)


def _feistel(values: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """A permutation of the numbers of so many bits; their halves change in turn."""
    low, high = bits - bits // 2, bits // 2
    right = values & np.uint64((1 << low) - 1)
    left = values >> np.uint64(low)
    for number, key in enumerate(keys):
        if number % 2:
            right ^= _mixed(left, key, low)
        elif high:
            left ^= _mixed(right, key, high)
    return left << np.uint64(low) | right


def _mixed(values: np.ndarray, key: np.uint64, bits: int) -> np.ndarray:
    """So many bits that depend on all bits of the values and the key."""
    if not bits:
        return np.zeros_like(values)
    mixed = (values ^ key) * _FIRST
    mixed ^= mixed >> _SHIFT
    return (mixed * _SECOND) >> np.uint64(64 - bits)

"""Words of a text for comparing it with others, and hashes of runs of them.

Two texts that differ in case, punctuation or spacing have the same words. Hashes are
arithmetic on BLAKE2b digests, so they are the same on every machine and in every run.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

# Scripts that put no spaces between words: every character is a word of its own.
_ALONE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
# Marks that belong to the letter before them, which \w leaves out.
_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u0900-\u0963\u0966-\u0dff"
)
_ALONE_ONE = re.compile(f"[{_ALONE}]")
_ASCII_WORD = re.compile(r"\w+")
_WORD = re.compile(f"[{_ALONE}]|(?:(?![{_ALONE}])[\\w{_MARKS}])+")

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd: 2**64 over the golden ratio


def words(text: str) -> list[str]:
    """The text's words, in lower case and without punctuation."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def alone(character: str) -> bool:
    """Whether it is of a script that puts no spaces between words."""
    return bool(_ALONE_ONE.match(character))


def hashes(listed: Sequence[str]) -> np.ndarray:
    """A 64-bit hash for every word (uint64, [words])."""
    known = {word: _hash(word) for word in set(listed)}
    return np.fromiter(map(known.__getitem__, listed), np.uint64, len(listed))


def runs(hashed: np.ndarray, length: int) -> np.ndarray:
    """A hash for every run of `length` words (uint64, [words - length + 1] or [0])."""
    count = max(0, len(hashed) - length + 1)
    total = np.zeros(count, np.uint64)
    for start in range(length):
        total = total * _FACTOR + hashed[start : start + count]
    return mixed(total)


def mixed(value: np.ndarray) -> np.ndarray:
    """Every bit of the result depends on every bit of the value (uint64, any shape).

    The last steps of SplitMix64 (Steele et al., 2014).
    """
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _hash(word: str) -> int:
    data = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")

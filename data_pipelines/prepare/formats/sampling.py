"""A part of a file's records: the first, the last, or some drawn by a seed.

    all   first:1000   end:5%   random:999

Drawn records are those of the lowest rank, a hash of their number that no two numbers
share: as many as were asked for, the same ones whoever reads them, in any division.
"""

import fractions
import functools
import hashlib
import json
import math
import pathlib
import re
from typing import NamedTuple

import numpy as np

from data_pipelines.prepare.raw import ENDLESS, Choice

KINDS = ("all", "first", "end", "random")
_SPELLING = re.compile(r"(first|end|random):(\d+(?:\.\d+)?)(%?)")
_BLOCK = 2**20  # numbers whose ranks are looked at together


class Sampling(NamedTuple):
    """Which records are wanted, before it is known how many there are."""

    kind: str = "all"  # one of KINDS
    amount: str = ""  # a count, or a share in percent: 5%
    seed: int = 0  # of random


ALL = Sampling()


def parse(text: str, seed: int = 0) -> Sampling:
    """The sampling of a text such as first:50%; ValueError, naming the rule."""
    if text == "all":
        return ALL
    found = _SPELLING.fullmatch(text)
    if found is None or ("." in found[2] and not found[3]):
        rule = "must be all, or first, end or random with :COUNT or :PERCENT%"
        raise ValueError(f"{text!r}: {rule}")
    amount = fractions.Fraction(found[2])
    if amount <= 0 or (found[3] and amount > 100):
        raise ValueError(f"{text!r}: must be above 0, and up to 100%")
    return Sampling(found[1], found[2] + found[3], seed)


def needs_total(sampling: Sampling) -> bool:
    """Whether the records must be counted to know which are wanted."""
    return sampling.kind in ("end", "random") or sampling.amount.endswith("%")


def choice(sampling: Sampling, total: int, ignored: str = "") -> Choice:
    """The choice among records 1 to `total`; shares are rounded up.

    A file of records to ignore is one of their places, from 0, as a JSON list.
    """
    chosen = Choice(ignored=ignored, digest=_digest(ignored) if ignored else "")
    if sampling.kind == "all":
        return chosen
    count = _count(sampling.amount, total)
    if sampling.kind == "first":
        return chosen._replace(last=count)
    if sampling.kind == "end":
        return chosen._replace(first=max(1, total - count + 1))
    if count >= total:
        return chosen
    return chosen._replace(
        seed=sampling.seed, rank=_highest(sampling.seed, total, count)
    )


def wanted(number: int, chosen: Choice) -> bool:
    """Whether the record of this number is among the chosen ones."""
    if not chosen.first <= number <= chosen.last:
        return False
    if chosen.rank < 2**64 - 1:
        rank = _ranks(chosen.seed, np.array([number], np.uint64))[0]
        if int(rank) > chosen.rank:
            return False
    return not chosen.ignored or number - 1 not in _places(
        chosen.ignored, chosen.digest
    )


def is_behind(number: int, chosen: Choice) -> bool:
    """Whether no record of this number or a later one is chosen."""
    return chosen.last < ENDLESS and number > chosen.last


def _count(amount: str, total: int) -> int:
    if not amount.endswith("%"):
        return int(amount)
    return math.ceil(fractions.Fraction(amount[:-1]) * total / 100)


def _highest(seed: int, total: int, count: int) -> int:
    """The highest of the `count` lowest ranks."""
    lowest = np.zeros(0, np.uint64)
    for start in range(1, total + 1, _BLOCK):
        numbers = np.arange(start, min(start + _BLOCK, total + 1), dtype=np.uint64)
        lowest = np.concatenate([lowest, _ranks(seed, numbers)])
        lowest = np.partition(lowest, min(count, len(lowest)) - 1)[:count]
    return int(lowest.max())


def _ranks(seed: int, numbers: np.ndarray) -> np.ndarray:
    """The ranks of numbers: splitmix64 (Steele et al., 2014), keyed by the seed.

    Each step can be undone, so that different numbers have different ranks.
    """
    key = hashlib.blake2b(str(seed).encode(), digest_size=8, person=b"sampling")
    x = numbers ^ np.uint64(int.from_bytes(key.digest(), "big"))
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _digest(path: str) -> str:
    """What changes when the list does; ValueError where it is none."""
    data = pathlib.Path(path).read_bytes()
    try:
        listed = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{path}: can't be read: {error}") from error
    if not isinstance(listed, list) or not all(type(one) is int for one in listed):
        raise ValueError(f"{path}: must be a list of places of records, from 0")
    return hashlib.sha256(data).hexdigest()


@functools.lru_cache(maxsize=4)
def _places(path: str, digest: str) -> frozenset[int]:
    """The places of a list; the digest tells it from an earlier one of its path."""
    data = pathlib.Path(path).read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"{path}: has changed since the preparation began")
    return frozenset(json.loads(data))

"""Patterns of file names: brace lists and joined ones, as webdataset tools take them.

{00000..01743}.tar   part-{a,b}.jsonl   one.jsonl::two.jsonl
"""

import itertools
import re
from collections.abc import Iterator

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def split(pattern: str) -> list[str]:
    """The patterns that `::` joins; ValueError where one of them is empty."""
    parts = pattern.split("::")
    if not all(parts):
        raise ValueError(f"{pattern!r}: a part of it, between ::, is empty")
    return parts


def braces(pattern: str) -> list[str]:
    """What a pattern with {a,b} or {000..123} stands for; itself if it has neither.

    Numbers are as wide as the first of them. Raises ValueError where a range is empty.
    """
    pieces = _BRACES.split(pattern)
    choices = [
        [piece] if number % 2 == 0 else list(_choices(piece, pattern))
        for number, piece in enumerate(pieces)
    ]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(inner: str, pattern: str) -> Iterator[str]:
    numbers = _RANGE.fullmatch(inner)
    if numbers is None:
        yield from inner.split(",") if "," in inner else ["{" + inner + "}"]
        return
    first, last = numbers.groups()
    if int(last) < int(first):
        raise ValueError(f"{pattern}: {inner} ends before it begins")
    for number in range(int(first), int(last) + 1):
        yield str(number).zfill(len(first))

"""What jax's error says where a device's memory runs out, read from its words."""

import re
from typing import NamedTuple

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]*\d) ?([KMGT]?)"
# As compilers for TPUs say it of a program, in one version and in another.
_OF_PROGRAM = (
    rf"\({_SIZE}\) exceeds available HBM \({_SIZE}\)",
    rf"Used {_SIZE} of {_SIZE} hbm",
)
# As TPUs say it of one allocation, then as GPUs and CPUs do.
_OF_ALLOCATION = (
    rf"Attempting to (?:allocate|reserve) {_SIZE}\b.*?There are {_SIZE} free",
    rf"allocat(?:e|ing)(?: request for)? {_SIZE}",
)
_NAMED = re.compile(rf'Size: {_SIZE}i?B?\s+Operator: op_name="([^"]*)"')


class Lack(NamedTuple):
    """Bytes of one device."""

    asked: float  # for the whole program, or for what could not be had
    there: float | None  # for a program, or free; None where the error doesn't tell
    whole: bool  # the whole program was meant


class Piece(NamedTuple):
    """A piece of memory, and what lies in it."""

    size: float  # bytes
    name: str


def ran_out(message: str) -> bool:
    """Whether an error of jax is about memory that there isn't."""
    return "RESOURCE_EXHAUSTED" in message


def lack(message: str) -> Lack | None:
    """What was asked for, where the error says so."""
    for patterns, whole in ((_OF_PROGRAM, True), (_OF_ALLOCATION, False)):
        for pattern in patterns:
            found = re.search(pattern, message, re.DOTALL)
            if found:
                asked, *there = (size(*pair) for pair in _pairs(found.groups()))
                return Lack(asked, there[0] if there else None, whole)
    return None


def named(message: str) -> list[Piece]:
    """The arrays that some compilers' errors list, by the operations they are of."""
    return [
        Piece(size(number, unit), name)
        for number, unit, name in _NAMED.findall(message)
    ]


def _pairs(texts: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [texts[place : place + 2] for place in range(0, len(texts), 2)]


def size(number: str, unit: str) -> float:
    """Bytes, of a number and the first letter of its unit ("" or K to T)."""
    return float(number) * _UNITS[unit]

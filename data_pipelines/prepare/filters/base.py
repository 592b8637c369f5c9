"""What a filter says: nothing, or why a thing should be left out."""

from math import inf
from typing import NamedTuple


class Problem(NamedTuple):
    """Why a thing is left out; goes into a `raw.Reject`."""

    reason: str  # one of a few, for counting
    detail: str  # what was found, and the rule


def outside(reason: str, value: float, least: float, most: float) -> Problem | None:
    """A problem where the value isn't within the limits, both of them allowed."""
    if least <= value <= most:
        return None
    rule = f"{least:g} to {most:g}" if most < inf else f"at least {least:g}"
    return Problem(reason, f"{value:.4g}, must be {rule}")

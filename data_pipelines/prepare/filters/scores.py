"""Conditions on scores that a corpus brings, as `similarity>=0.28` or `LANGUAGE==en`.

Any column of a table or member of a tar that a reader puts into `Raw.scores` can be
asked for: similarity, punsafe, pwatermark, aesthetic_score_laion_v2, ...
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from data_pipelines.prepare.filters.base import Problem

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
MISSING = ("keep", "drop")  # what becomes of a document without the score
_FORM = re.compile(r"\s*([^<>=!]*[^<>=!\s])\s*(>=|<=|==|!=|>|<)\s*([^<>=!\s].*?)\s*")


class Condition(NamedTuple):
    """What a score must be."""

    column: str
    sign: str  # a key of OPERATORS
    value: float | str

    def __str__(self) -> str:
        value = self.value
        shown = f"{value:g}" if isinstance(value, float) else value
        return f"{self.column}{self.sign}{shown}"


def parse(text: str) -> Condition:
    """A condition from its text; words may stand in quotes.

    Raises ValueError where it can't be one.
    """
    parts = _FORM.fullmatch(text)
    if not parts:
        rule = f"must be a column, one of {' '.join(OPERATORS)} and a value"
        raise ValueError(f"condition {text!r}: {rule}, as in similarity>=0.28")
    column, sign, given = parts.groups()
    value = _value(given)
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"condition {text!r}: nothing is comparable with nan")
    if isinstance(value, str) and sign not in ("==", "!="):
        rule = f"{sign} needs a number; words can be == or !="
        raise ValueError(f"condition {text!r}: {rule}")
    return Condition(column, sign, value)


def problem(
    scores: Mapping[str, float | str],
    conditions: Iterable[Condition],
    missing: str = "keep",
) -> Problem | None:
    """The first condition that the scores don't meet.

    A score is missing where its column is, or is null, nan, empty, or words where the
    condition has a number; `missing` (one of MISSING) says what that means.
    """
    if missing not in MISSING:
        raise ValueError(f"missing scores: {missing!r} must be {' or '.join(MISSING)}")
    for condition in conditions:
        found = _comparable(scores.get(condition.column), condition.value)
        if found is None:
            if missing == "drop":
                detail = f"{condition} but there is no such score"
                return Problem("score_missing", detail)
        elif not OPERATORS[condition.sign](found, condition.value):
            detail = f"{found!r}, must be {condition}"
            return Problem(f"score_{condition.column}", detail)
    return None


def _value(given: str) -> float | str:
    if len(given) >= 2 and given[0] == given[-1] and given[0] in "'\"":
        return given[1:-1]
    try:
        return float(given)
    except ValueError:
        return given


def _comparable(found: Any, value: float | str) -> float | str | None:
    """The score as something of the value's kind; None: it is missing."""
    if isinstance(value, str):
        return None if found is None or found == "" else str(found)
    try:
        number = float(found)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number

"""Which cases of a test run by default; the others are marked slow."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_unless(cases: Iterable[Any], default: Collection[Any]) -> list[Any]:
    """The cases as `parametrize` takes them, those of `default` as they are."""
    slow = pytest.mark.slow
    return [c if c in default else pytest.param(c, marks=slow) for c in cases]

"""Rules for the images of a whole page, and for one image on many pages.

Defaults are MM1's for its interleaved documents (McKinzie et al., 2024).
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from data_pipelines.prepare.filters import base
from data_pipelines.prepare.filters.base import Problem


class Rules(NamedTuple):
    """What a page must be like."""

    min_pictures: int = 1
    max_pictures: int = 30
    max_appearances: int = 10  # of one URL, or of equal bytes, in the whole corpus


MM1 = Rules()


def problem(pictures: int, rules: Rules = MM1) -> Problem | None:
    """A problem where a page has too few or too many pictures."""
    return base.outside(
        "page_pictures", pictures, rules.min_pictures, rules.max_pictures
    )


def repeats(keys: Sequence[Hashable]) -> list[int]:
    """Positions of pictures that the page has shown before.

    Takes what tells a page's pictures apart, in reading order: URLs, digests, or both.
    """
    seen: set[Hashable] = set()
    found = []
    for position, key in enumerate(keys):
        if key in seen:
            found.append(position)
        seen.add(key)
    return found


def everywhere(appearances: int, rules: Rules = MM1) -> Problem | None:
    """A problem where a picture is on so many pages that it belongs to none of them."""
    return base.outside("image_appearances", appearances, 1, rules.max_appearances)

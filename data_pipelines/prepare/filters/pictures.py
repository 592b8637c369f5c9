"""Rules for images: which one is too small, too long, a logo or a blank.

Defaults are MM1's for its interleaved documents (McKinzie et al., 2024), but for
what is said otherwise. OBELICS has 150 to 20,000 pixels and the same shapes and words.
"""

import io
from math import inf
from typing import NamedTuple

import numpy as np
import PIL.Image

from data_pipelines.prepare.filters import base
from data_pipelines.prepare.filters.base import Problem


class Rules(NamedTuple):
    """What an image must be like."""

    min_side: int = 100  # pixels, of the shorter side
    max_side: int = 10_000  # of the longer side
    max_aspect: float = 2.0  # longer side for each pixel of the shorter
    min_bytes: int = 0  # of the file; OpenFlamingo has 10,000 for MMC4; 0: no rule
    max_bytes: int = 0  # likewise; not of MM1
    # Found anywhere in the URL or the name of the file, in any case.
    words: tuple[str, ...] = ("logo", "button", "icon", "plugin", "widget")
    # Words of which some hold such a word by chance; not of MM1.
    harmless: tuple[str, ...] = ("silicon", "lexicon", "iconic")
    min_colours: int = 2  # each on 0.1 % of the pixels or more; not of MM1; 0: no rule


MM1 = Rules()


def problem(
    name: str, size: int, width: int, height: int, rules: Rules = MM1
) -> Problem | None:
    """The first rule that an image breaks, by what can be known without decoding it.

    Takes the URL, or the name of the file, the bytes of the file and its pixels.
    Reasons are image_name, image_side, image_aspect and image_bytes.
    """
    word = _word(name, rules)
    if word:
        return Problem("image_name", f"{name[:200]}: has {word!r}")
    low, high = sorted((width, height))
    if low < rules.min_side or high > rules.max_side:
        rule = f"sides must be {rules.min_side} to {rules.max_side}"
        return Problem("image_side", f"{width} x {height} pixels, {rule}")
    if high > rules.max_aspect * low:
        rule = f"must be at most {rules.max_aspect:g} times as long"
        return Problem("image_aspect", f"{width} x {height} pixels, {rule}")
    most = rules.max_bytes or inf
    return base.outside("image_bytes", size, rules.min_bytes, most)


def plain(data: bytes, rules: Rules = MM1) -> Problem | None:
    """A problem where an encoded image has hardly any colours: a blank, a bar, a dot.

    With more `min_colours`, plain logos go, and so do plots and drawings of lines.
    """
    if not rules.min_colours:
        return None
    found = colours(data)
    return base.outside("image_colours", found, rules.min_colours, inf)


def colours(data: bytes) -> int:
    """Colours on at least 0.1 % of the pixels, of 16 levels of red, green and blue.

    Looks at 128 x 128 pixels, not averaged, so that no colours are made up. Takes an
    image that Pillow reads (`photos.convert` says which don't).
    """
    with PIL.Image.open(io.BytesIO(data)) as picture:
        small = picture.convert("RGB").resize((128, 128), PIL.Image.Resampling.NEAREST)
    levels = np.asarray(small).reshape(-1, 3) >> 4
    packed = levels.astype(np.int64) @ np.array([256, 16, 1])
    return int((np.bincount(packed) >= 0.001 * len(packed)).sum())


def _word(name: str, rules: Rules) -> str:
    """The word of the rules that the name has, or nothing."""
    lower = name.lower()
    if not any(word in lower for word in rules.words):
        return ""
    for harmless in rules.harmless:
        lower = lower.replace(harmless, "")
    return next((word for word in rules.words if word in lower), "")

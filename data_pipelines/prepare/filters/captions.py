"""Rules for captions: which alt text says nothing about its image."""

import re
from collections import Counter
from math import inf
from typing import NamedTuple

from data_pipelines.prepare import words
from data_pipelines.prepare.filters import base
from data_pipelines.prepare.filters.base import Problem


class Rules(NamedTuple):
    """What a caption must be like."""

    min_words: int = 3  # CC12M (Changpinyo et al., 2021) and COYO-700M
    max_words: int = 256  # likewise
    min_characters: int = 5  # LAION-400M (Schuhmann et al., 2021)
    max_repeated: float = 0.5  # share of the words that one of them is, from 4 words on
    max_digits: float = 0.5  # share of the characters, spaces left aside


DEFAULT = Rules()

_ENDING = r"\.(jpe?g|png|gif|webp|bmp|tiff?|svg|avif|heic|ico)"
_NAMES = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf".*{_ENDING}",
        r"(https?://|www\.)\S+",
        r"(?=\S*[_-]\S*[_-])\S+",  # red-summer-dress-front
        # DSC_0042, IMG-20190101-WA0003, P1010023, Screenshot 2020-01-01 at 10.00.00
        r"(img|image|dsc[nf]?|dscf|pict?|photo|p|screen ?shot|vid|gopr|mvimg|untitled)"
        r"[\W_]*\d[\W\d_]*(at|of|wa|copy|edit|px|x)?[\W\d_]*",
    )
)


def problem(caption: str, rules: Rules = DEFAULT) -> Problem | None:
    """The first rule that the caption breaks.

    Reasons are caption_file_name, _characters, _words, _digits and _repeated_word.
    """
    text = caption.strip()
    if any(name.fullmatch(text) for name in _NAMES):
        detail = f"{text[:80]!r} looks like the name of a file"
        return Problem("caption_file_name", detail)
    listed = words.words(text)
    seen = sum(not one.isspace() for one in text)
    digits = sum(map(str.isdigit, text)) / max(1, seen)
    most = Counter(listed).most_common(1)[0][1] if len(listed) >= 4 else 0
    repeated = most / max(1, len(listed))
    for name, value, least, most_allowed in (
        ("characters", len(text), rules.min_characters, inf),
        ("words", len(listed), rules.min_words, rules.max_words),
        ("digits", digits, 0, rules.max_digits),
        ("repeated_word", repeated, 0, rules.max_repeated),
    ):
        found = base.outside(f"caption_{name}", value, least, most_allowed)
        if found:
            return found
    return None

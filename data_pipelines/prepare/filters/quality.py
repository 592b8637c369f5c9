"""Rules for whole texts, as of Gopher and C4: which text is hardly worth learning from.

Every rule is a measure with limits. Defaults are of Gopher (Rae et al., 2021, A1.1 and
Table A1) where no other source is named. Words are what spaces separate, so the rules
fit languages that put spaces between words, and the stop words are English.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from math import inf
from typing import NamedTuple

import numpy as np

from data_pipelines.prepare import words
from data_pipelines.prepare.filters import base, repetition
from data_pipelines.prepare.filters.base import Problem

Limits = tuple[float, float] | None  # least and most that are allowed; None: no rule


class Rules(NamedTuple):
    """Limits of each measure; in the order in which they are looked at."""

    words: Limits = (50, 100_000)
    mean_word_length: Limits = (3, 10)  # characters
    hashes: Limits = (0, 0.1)  # "#" for each word
    ellipses: Limits = (0, 0.1)  # likewise
    bullet_lines: Limits = (0, 0.9)  # share of lines that start with a bullet
    ellipsis_lines: Limits = (0, 0.3)  # share of lines that end with an ellipsis
    alphabetic_words: Limits = (0.8, 1)  # share of words with a letter
    stop_words: Limits = (2, inf)  # different ones
    lorem_ipsum: Limits = (0, 0)  # times (C4: Raffel et al., 2020, 2.2)
    notice_lines: Limits = (0, 0.3)  # share; C4 cuts out each such line instead
    curly_brackets: Limits = None  # C4 has (0, 0), which drops nearly all code and TeX
    sentences: Limits = None  # C4 has (5, inf)
    bad_words: Limits = (0, 0)  # share of words that are on the user's list; as C4
    repeated_lines: Limits = (0, 0.3)  # shares, from here on
    repeated_paragraphs: Limits = (0, 0.3)
    repeated_line_characters: Limits = (0, 0.2)
    repeated_paragraph_characters: Limits = (0, 0.2)
    most_frequent_2_words: Limits = (0, 0.2)
    most_frequent_3_words: Limits = (0, 0.18)
    most_frequent_4_words: Limits = (0, 0.16)
    repeated_5_words: Limits = (0, 0.15)
    repeated_6_words: Limits = (0, 0.14)
    repeated_7_words: Limits = (0, 0.13)
    repeated_8_words: Limits = (0, 0.12)
    repeated_9_words: Limits = (0, 0.11)
    repeated_10_words: Limits = (0, 0.1)


GOPHER = Rules()
C4 = GOPHER._replace(curly_brackets=(0, 0), sentences=(5, inf))

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
BULLETS = ("\u2022", "\u2023", "\u25e6", "\u25cf", "\u25aa", "-", "*")
ELLIPSES = ("...", "\u2026")
# Of C4's own code (tensorflow_datasets, text/c4_utils).
NOTICES = ("javascript", "terms of use", "privacy policy", "cookie policy",
           "uses cookies", "use of cookies", "use cookies")  # fmt: skip
_SENTENCE_END = re.compile(r"[.!?][\"')\u201d\u2019]*(?=\s|$)")
_PARAGRAPH_END = re.compile(r"\n\s*\n")


class _Page(NamedTuple):
    """A text in the pieces that measures look at."""

    text: str
    lower: str
    words: list[str]
    lines: list[str]  # stripped; without empty ones
    hashes: np.ndarray  # uint64 [words]
    sizes: np.ndarray  # characters, [words]
    bad_words: frozenset[str]


def problem(
    text: str, rules: Rules = GOPHER, bad_words: frozenset[str] = frozenset()
) -> Problem | None:
    """The first rule that the text breaks, with its value and limits.

    The reason is "text_" and the name in `Rules`. `bad_words` come from `read_words`.
    """
    page = _page(text, bad_words)
    for name, limits in rules._asdict().items():
        if limits is not None:
            found = base.outside(f"text_{name}", MEASURES[name](page), *limits)
            if found:
                return found
    return None


def read_words(path: str) -> frozenset[str]:
    """Words and phrases of a UTF-8 file, one a line. Raises ValueError without any."""
    try:
        with open(path, encoding="utf-8") as lines:
            found = frozenset(line.strip().casefold() for line in lines) - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"list of words {path}: {error}") from error
    if not found:
        raise ValueError(f"list of words {path}: is empty, needs a word on each line")
    return found


def _page(text: str, bad_words: frozenset[str]) -> _Page:
    listed = text.split()
    lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
    sizes = np.fromiter(map(len, listed), np.int64, len(listed))
    hashed = words.hashes(listed)
    return _Page(text, text.casefold(), listed, lines, hashed, sizes, bad_words)


def _paragraphs(page: _Page) -> list[str]:
    return _PARAGRAPH_END.split(page.text.strip())


def _share(wanted: Callable[[str], bool], pieces: list[str]) -> float:
    return sum(map(wanted, pieces)) / max(1, len(pieces))


def _per_word(page: _Page, *symbols: str) -> float:
    return sum(map(page.text.count, symbols)) / max(1, len(page.words))


def _has_letter(word: str) -> bool:
    return any(map(str.isalpha, word))


def _stop_words(page: _Page) -> int:
    return len(STOP_WORDS.intersection(words.words(page.text)))


def _notice(line: str) -> bool:
    lower = line.casefold()
    return any(notice in lower for notice in NOTICES)


def _bad_words(page: _Page) -> float:
    if not page.bad_words:
        return 0.0
    found = len(_any_of(page.bad_words).findall(page.lower))
    return found / max(1, len(page.words))


@lru_cache(maxsize=4)
def _any_of(phrases: frozenset[str]) -> re.Pattern:
    """Finds each phrase where it is not a part of a longer word.

    In a script that puts no spaces between words a phrase is found anywhere.
    """
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    return re.compile("|".join(map(_phrase, longest_first)))


def _phrase(phrase: str) -> str:
    before = "" if words.alone(phrase[0]) else r"(?<!\w)"
    after = "" if words.alone(phrase[-1]) else r"(?!\w)"
    return before + re.escape(phrase) + after


def _top(length: int) -> Callable[[_Page], float]:
    measure = repetition.most_frequent_run
    return lambda page: measure(page.hashes, page.sizes, length)


def _runs(length: int) -> Callable[[_Page], float]:
    measure = repetition.repeated_runs
    return lambda page: measure(page.hashes, page.sizes, length)


MEASURES: dict[str, Callable[[_Page], float]] = {
    "words": lambda page: len(page.words),
    "mean_word_length": lambda page: page.sizes.mean() if page.words else 0,
    "hashes": lambda page: _per_word(page, "#"),
    "ellipses": lambda page: _per_word(page, *ELLIPSES),
    "bullet_lines": lambda page: _share(lambda s: s.startswith(BULLETS), page.lines),
    "ellipsis_lines": lambda page: _share(lambda s: s.endswith(ELLIPSES), page.lines),
    "alphabetic_words": lambda page: _share(_has_letter, page.words),
    "stop_words": _stop_words,
    "lorem_ipsum": lambda page: page.lower.count("lorem ipsum"),
    "notice_lines": lambda page: _share(_notice, page.lines),
    "curly_brackets": lambda page: page.text.count("{"),
    "sentences": lambda page: len(_SENTENCE_END.findall(page.text)),
    "bad_words": _bad_words,
    "repeated_lines": lambda page: repetition.repeated(page.lines),
    "repeated_paragraphs": lambda page: repetition.repeated(_paragraphs(page)),
    "repeated_line_characters": lambda page: repetition.repeated_characters(page.lines),
    "repeated_paragraph_characters": lambda page: repetition.repeated_characters(
        _paragraphs(page)
    ),
    **{f"most_frequent_{n}_words": _top(n) for n in (2, 3, 4)},
    **{f"repeated_{n}_words": _runs(n) for n in range(5, 11)},
}

"""MMMU: the official reading of free answers, and accuracy by subject.

An answer that names no option is given one at random there, from a generator seeded
once, so a score depends on the order of questions. Here the draw depends on the
question's id and the seed alone, and how many answers needed one is a figure of its
own.
"""

import re
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax.evals import metric
from mmjax.evals.metric import Metric

_CUES = (
    "could be ",
    "so ",
    "is ",
    "thus ",
    "therefore ",
    "final ",
    "answer ",
    "result ",
)
_TRIVIAL = frozenset(":,.!?;'")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),  # 1,000
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),  # 1e3
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)
# The official split asks for a capital, which lowercase text never has.
_SENTENCES = re.compile(r"\.\s(?=[A-Z])|\n")


class Read(NamedTuple):
    """An option read from an answer."""

    letter: str
    guessed: bool  # drawn at random: the answer names none


def letters(options: int) -> list[str]:
    """A, B, C ... of so many options."""
    return [chr(ord("A") + i) for i in range(options)]


def choice(text: str, options: Sequence[str], key: str, seed: int = 42) -> Read:
    """The option that an answer names last: (A), else a lone A, else its content.

    Contents count in answers of more than five words only.
    """
    for mark in ",.!?;:'":
        text = text.strip(mark)
    text = f" {text} "
    names = dict(zip(letters(len(options)), options))
    in_brackets = {name: text.rfind(f"({name})") for name in names}
    alone = {name: text.rfind(f" {name} ") for name in names}
    contents = {name: text.lower().rfind(o.lower()) for name, o in names.items()}
    long = len(text.split()) > 5
    for places in (in_brackets, alone, contents if long else {}):
        found = {name: at for name, at in places.items() if at >= 0}
        if found:
            return Read(max(found, key=lambda name: found[name]), False)
    draw = np.random.default_rng([seed, zlib.crc32(key.encode())])
    return Read(str(draw.choice(list(names))), True)


def normalized(text: str) -> list[str | float]:
    """A number rounded to cents, or lowercase text; a letter only beside a blank."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]


def open_answers(text: str) -> list[str | float]:
    """What a free answer may be saying: its tails after a cue, and numbers in them."""
    tails = _tails(text)
    numbers = [n for tail in tails for p in _NUMBERS for n in p.findall(tail)]
    return [value for said in [*tails, *numbers] for value in normalized(said)]


def open_right(text: str, accepted: Sequence[str]) -> bool:
    """Whether a free answer holds an accepted text or equals an accepted number."""
    true = [value for answer in accepted for value in normalized(answer)]
    words = [value for value in true if isinstance(value, str)]
    for said in open_answers(text):
        if isinstance(said, str):
            if any(word in said for word in words):
                return True
        elif said in true:
            return True
    return False


def subject(key: str) -> str:
    """`validation_Art_Theory_3` -> Art_Theory."""
    return "_".join(key.split("_")[1:-1])


def score(
    predictions: Sequence[str],
    keys: Sequence[str],
    options: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    seed: int = 42,
) -> dict[str, Metric]:
    """Accuracy, by subject too; references of options are letters.

    A question without options is open. "guessed" is the share of answers to questions
    with options that name none and were drawn.
    """
    hits, guessed = [], []
    for said, key, names, true in zip(
        predictions, keys, options, references, strict=True
    ):
        read = choice(said, names, key, seed) if names else None
        guessed.append(read is not None and read.guessed)
        hits.append(read.letter in true if read else open_right(said, true))
    subjects = [subject(key) for key in keys]
    closed = [bool(names) for names in options]
    return {
        "accuracy": metric.mean(hits),
        **{
            f"accuracy/{name}": metric.mean(hits, [s == name for s in subjects])
            for name in sorted(set(subjects))
        },
        "guessed": metric.mean(guessed, closed),
    }


def _tails(text: str) -> list[str]:
    """Of each line the shortest text after a cue; the whole answer if none has one."""
    text = text.strip().strip(".").lower()
    lines = _SENTENCES.split(text)
    found = []
    for i, line in enumerate(lines):
        cues = (*_CUES, "=") if i == len(lines) - 1 else _CUES
        tails = [line.split(cue)[-1].strip() for cue in cues if cue in line]
        shortest = _shortest(tails)
        if shortest and shortest not in _TRIVIAL:
            found.append(shortest)
    return found or [text]


def _shortest(tails: Sequence[str]) -> str:
    """The first of the shortest, but an empty one gives way to what follows it."""
    best = ""
    for tail in tails:
        if not best or len(tail) < len(best):
            best = tail
    return best

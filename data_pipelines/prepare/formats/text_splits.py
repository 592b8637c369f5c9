"""What is one document of a text file: where, among its lines, documents begin.

A split says so of each line from the lines before it, back to the last multiple of
GRID bytes at most, so that a reader in the middle of a file needs to go no further.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

PASSAGE = 2000  # characters, at least, of a passage
GRID = 2**24  # bytes; the first paragraph behind a multiple of it begins a passage
_HEADING = re.compile(r"^ ?= [^=].* = ?$")  # of an article, as in WikiText


class Row(NamedTuple):
    """A line of text."""

    number: int  # from 1
    offset: int  # of its first byte
    text: str  # without its line end


Split = Callable[[Iterable[Row]], Iterator[bool]]


def is_heading(text: str) -> bool:
    """Whether the line is the title of an article."""
    return bool(_HEADING.match(text))


def _by_file(rows: Iterable[Row]) -> Iterator[bool]:
    for row in rows:
        yield row.offset == 0


def _by_heading(rows: Iterable[Row]) -> Iterator[bool]:
    for row in rows:
        yield row.offset == 0 or is_heading(row.text)


def _by_blank_line(rows: Iterable[Row]) -> Iterator[bool]:
    was_blank = True
    for row in rows:
        blank = not row.text.strip()
        yield was_blank and not blank
        was_blank = blank


def _by_passage(rows: Iterable[Row]) -> Iterator[bool]:
    """Paragraphs that follow each other, until they are PASSAGE characters."""
    was_blank, length, cell = True, PASSAGE, -1
    for row in rows:
        blank = not row.text.strip()
        begins = False
        if was_blank and not blank:
            begins = length >= PASSAGE or row.offset // GRID != cell
            cell = row.offset // GRID
        length = 0 if begins else length
        length += len(row.text) + 1
        yield begins
        was_blank = blank


SPLITS: dict[str, Split] = {
    "file": _by_file,
    "heading": _by_heading,
    "blank_line": _by_blank_line,
    "passage": _by_passage,
}
AUTO = "auto"  # heading where there are any, otherwise passage
CHOICES = (AUTO, *SPLITS)

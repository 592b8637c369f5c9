"""What a reader gives: documents of a user's file, with images not yet looked at.

Every format of a corpus becomes `Raw`s; everything after the readers knows only these.
"""

from typing import Any, NamedTuple

from data_pipelines.records import Text

ENDLESS = 2**63  # no number is larger


class Picture(NamedTuple):
    """An image that a document shows: its encoded bytes, or where they are."""

    path: str = ""  # inside the folder of images; empty: see data
    data: bytes = b""  # as the file holds them
    url: str = ""  # where the corpus found it


Part = Text | Picture


class Raw(NamedTuple):
    """One record of a user's file: a document, or several that share their pictures."""

    file: str
    number: int  # of the record in its file, from 1
    documents: tuple[tuple[Part, ...], ...]  # each in reading order
    folder: str = ""  # that paths of pictures are inside of
    licence: str = ""
    url: str = ""
    scores: dict[str, float | str] = {}  # noqa: RUF012  columns that filters may read
    meta: dict[str, Any] = {}  # noqa: RUF012  kept in the record, not read in training


class Reject(NamedTuple):
    """Something that was left out."""

    file: str
    number: int  # of the record, from 1
    reason: str  # one of a few, for counting
    detail: str
    lost: str  # how much: record, document, image, caption, wording, line...


class Choice(NamedTuple):
    """Which records of a file are read, by their numbers from 1; as it is: all."""

    first: int = 1
    last: int = ENDLESS
    seed: int = 0  # of the ranks by which records are drawn
    rank: int = 2**64 - 1  # the highest that is drawn
    ignored: str = ""  # a file: JSON list of places, from 0, that are left out
    digest: str = ""  # of its content


class Columns(NamedTuple):
    """What a file calls its fields, as (theirs, ours); empty: as their format does."""

    fields: tuple[tuple[str, str], ...] = ()
    turn: tuple[tuple[str, str], ...] = ()  # of a turn: role, content
    roles: tuple[tuple[str, str], ...] = ()  # values of the turn's role


class Unit(NamedTuple):
    """A part of a file that is read at a time, in any order, by any worker."""

    file: str
    format: str  # a key of formats.FORMATS
    folder: str  # of the pictures that its records name
    start: int  # bytes, rows or members: as its format counts
    stop: int
    first: int  # number of the first record, from 1
    choice: Choice = Choice()
    columns: Columns = Columns()

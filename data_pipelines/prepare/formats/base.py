"""What a format is: how its files are known, divided and read."""

import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from data_pipelines.prepare.formats.sampling import Sampling
from data_pipelines.prepare.raw import Columns, Raw, Reject, Unit


class Settings(NamedTuple):
    """What a user may say about how files are read."""

    image_key: str = ""  # column or member of the image; empty: the format's own
    text_key: str = ""  # likewise of the text or caption
    text_split: str = "auto"  # what is one document of a .txt file
    missing_image: str = "text_only"  # or drop, the whole document, or error
    synthetic_key: str = ""  # column or member of a caption in another wording


class Input(NamedTuple):
    """One file, or one folder that is a corpus as a whole, to read."""

    file: str
    format: str  # a key of FORMATS
    folder: str  # of the pictures that it names
    sampling: Sampling = Sampling()  # which of its records
    ignored: str = ""  # a file: JSON list of places of records that are left out
    columns: Columns = Columns()  # what it calls its fields


class Format(NamedTuple):
    """One way in which people keep a corpus. Its functions are pure but for reading.

    `sniff` looks at a file's first record and says whether it is of this format;
    `units` divides a file (whose pictures are in the given folder); `read` yields what
    a unit holds, in order. None of them ever holds a whole large file. They raise
    ValueError naming the file and the rule where a file can't be of the format at all;
    what is wrong with one record is a Reject.
    """

    suffixes: tuple[str, ...]  # of files that may be of it, such as ".jsonl"
    sniff: Callable[[pathlib.Path], bool]
    units: Callable[[pathlib.Path, str], Iterator[Unit]]
    read: Callable[[Unit, Settings], Iterator[Raw | Reject]]

"""Files of any format, written for tests and read through the registry."""

import json
import pathlib

from data_pipelines.prepare.formats import lines, registry
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.raw import Picture, Raw, Reject, Unit
from data_pipelines.records import Text


def as_lines(path: pathlib.Path, records) -> pathlib.Path:
    """A .jsonl of the records; bytes are written as they are."""
    data = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    path.write_bytes(b"".join(one + b"\n" for one in data))
    return path


def as_array(path: pathlib.Path, records, indent=None) -> pathlib.Path:
    """One JSON array of the records."""
    path.write_text(json.dumps(records, indent=indent))
    return path


def found(path, name: str, settings: Settings | None = None, folder: str = "pictures"):
    """Everything that a format gives for a file, in order."""
    form = registry.FORMATS[name]
    units = form.units(pathlib.Path(path), folder)
    return [one for unit in units for one in form.read(unit, settings or Settings())]


def read(path, name: str, settings: Settings | None = None):
    """The Raws and the Rejects."""
    return parted(found(path, name, settings))


def parted(everything):
    """Raws and Rejects, apart."""
    raws = [one for one in everything if isinstance(one, Raw)]
    return raws, [one for one in everything if isinstance(one, Reject)]


def divided(path, name: str, size: int, settings: Settings | None = None):
    """The same as `found`, for a file that is divided into ranges of `size` bytes."""
    form = registry.FORMATS[name]
    parts = units(path, name, size)
    return [one for unit in parts for one in form.read(unit, settings or Settings())]


def units(path, name: str, size: int) -> list[Unit]:
    """A file of lines, divided into ranges of `size` bytes."""
    return [
        Unit(str(path), name, "pictures", start, stop, first)
        for start, stop, first in lines.ranges(path, size)
    ]


def shown(document):
    """A document by its texts, and its pictures in angle brackets."""
    return [
        part.text if isinstance(part, Text) else f"<{part.path or part.url}>"
        for part in document
    ]


def reasons(rejects):
    """Number, reason and what is lost of each reject."""
    return [(r.number, r.reason, r.lost) for r in rejects]


def picture(path: str) -> Picture:
    """A picture in a file."""
    return Picture(path=path)

"""Readers of formats under test: what files give, whole and in parts."""

import pathlib
from collections.abc import Iterable

from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.raw import Picture, Raw, Reject, Unit
from data_pipelines.records import Text

PLAIN = Settings()


def of_units(
    form: Format, units: Iterable[Unit], settings: Settings = PLAIN
) -> list[Raw | Reject]:
    """What the units hold, one after the other."""
    return [found for unit in units for found in form.read(unit, settings)]


def of_file(
    form: Format, path: pathlib.Path, settings: Settings = PLAIN, folder: str = ""
) -> tuple[list[Raw], list[Reject]]:
    """Raws and rejects of a file, which has to be of the format."""
    assert form.sniff(path)
    found = of_units(form, form.units(path, folder or str(path.parent)), settings)
    raws = [f for f in found if isinstance(f, Raw)]
    return raws, [f for f in found if isinstance(f, Reject)]


def shape(parts) -> list:
    """A document as texts, "~text" where it isn't predicted, and pictures."""
    return [_shown(part) for part in parts]


def _shown(part):
    if isinstance(part, Text):
        return part.text if part.loss else f"~{part.text}"
    assert isinstance(part, Picture)
    return part.data or part.path or part.url

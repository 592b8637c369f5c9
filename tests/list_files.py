"""Lists of datasets, written for tests and read as the command line would."""

import pathlib

import yaml

from data_pipelines.prepare.formats import inputs, registry
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.raw import Raw, Reject


def write(path: pathlib.Path, values) -> pathlib.Path:
    """A YAML (which JSON is, too) of the values; a text is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return path


def read(pattern, images: str = "") -> list[Raw | Reject]:
    """All that the datasets of a list hold, file by file."""
    return [
        found
        for file in inputs.expand([str(pattern)], images, "instructions")
        for unit in inputs.units(file)
        for found in registry.FORMATS[unit.format].read(unit, Settings())
    ]


def ids(pattern, images: str = "") -> list:
    """The ids of the records that are read."""
    return [raw.meta["id"] for raw in read(pattern, images) if isinstance(raw, Raw)]

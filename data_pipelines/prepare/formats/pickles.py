"""Pickles (COYO's and VILA's shards): refused, since reading one runs its code."""

import pathlib
from collections.abc import Iterator

from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.raw import Raw, Reject, Unit


def _refused(path: object) -> ValueError:
    return ValueError(
        f"{path}: pickles are not read, since they can run any program: where you "
        "trust it, write its rows as JSON lines or parquet"
    )


def _sniff(path: pathlib.Path) -> bool:
    raise _refused(path)


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    raise _refused(path)


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    raise _refused(unit.file)


FORMAT = Format((".pkl", ".pickle"), _sniff, _units, _read)

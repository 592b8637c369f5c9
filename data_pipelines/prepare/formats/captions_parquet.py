"""Captions in parquet with their pictures inside, or the names of their files.

{image: {bytes, path}, caption or captions or text}
"""

import pathlib
from collections.abc import Iterator

from data_pipelines.prepare.formats import captions, parquet
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.raw import Raw, Reject, Unit

_TEXT = "text"  # a caption, where a picture is beside it


def _sniff(path: pathlib.Path) -> bool:
    kinds = parquet.columns(path)
    image, text = captions.keys(kinds, Settings())
    text = text or (_TEXT if _TEXT in kinds else "")
    if not image or not text:
        return False
    kind = kinds[image]
    held = "bytes" in parquet.members(kind) or "binary" in str(kind)
    inner = kinds[text].value_type if parquet.is_list(kinds[text]) else kinds[text]
    return (held or parquet.is_text(kind)) and parquet.is_text(inner)


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return parquet.units(path, folder, "captions_parquet")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    kinds = parquet.columns(pathlib.Path(unit.file))
    if not captions.keys(kinds, settings)[1] and _TEXT in kinds:
        settings = settings._replace(text_key=_TEXT)
    return parquet.read(unit, settings, captions.convert)


FORMAT = Format(parquet.SUFFIXES, _sniff, _units, _read)

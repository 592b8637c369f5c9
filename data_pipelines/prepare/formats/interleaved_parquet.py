"""OBELICS and MINT-1T as parquet: {texts, images, metadata, general_metadata}.

Texts and images are aligned, one of the two null; images are URLs, paths or structs.
"""

import pathlib
from collections.abc import Iterator

from data_pipelines.prepare.formats import interleaved, parquet
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.raw import Raw, Reject, Unit


def _sniff(path: pathlib.Path) -> bool:
    kinds = parquet.columns(path)
    if not {"texts", "images"} <= kinds.keys() or not parquet.is_list(kinds["images"]):
        return False
    texts = kinds["texts"]
    return parquet.is_list(texts) and parquet.is_text(texts.value_type)


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return parquet.units(path, folder, "interleaved_parquet")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return parquet.read(unit, settings, interleaved.convert)


FORMAT = Format(parquet.SUFFIXES, _sniff, _units, _read)

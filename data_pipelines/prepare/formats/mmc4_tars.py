"""MMC4 pages in tars, as OpenFlamingo converts them: pictures inside of the json.

{key}.json: {text_list, image_info: [{image_base64, matched_text_index}], ...}
"""

import pathlib
from collections.abc import Iterator

from data_pipelines.prepare.formats import fields, mmc4, tars
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.formats.tars import Sample
from data_pipelines.prepare.raw import Raw, Reject, Unit


def convert(
    record: Record, sample: Sample, settings: Settings
) -> Iterator[Raw | Reject]:
    """One page; raises Bad."""
    if "json" not in sample.members:
        raise Bad("missing_field", f"needs a json, has {sorted(sample.members)}")
    page = record._replace(fields=fields.parse(sample.members["json"]))
    yield from mmc4.convert(page, settings)


def _sniff(path: pathlib.Path) -> bool:
    sample = tars.first(path)
    try:
        values = fields.parse(sample.members.get("json", b"")) if sample else {}
    except Bad:
        return False
    return {"text_list", "image_info"} <= values.keys()


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return tars.units(path, folder, "mmc4_tars")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return tars.read(unit, settings, convert)


FORMAT = Format(tars.SUFFIXES, _sniff, _units, _read)

"""The Cauldron and FineVision: {images, texts: [{user, assistant, source}]}, parquet.

No tag says where pictures are: all come before the first turn. FineVision rates every
turn in columns such as `relevance_ratings`; a row's lowest rating becomes its score.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import fields, parquet, pictures, turns
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.formats.turns import Turn
from data_pipelines.prepare.raw import Raw, Reject, Unit

_RATINGS = "_ratings"  # how names of columns with a rating a turn end


def _turns(texts: Any) -> list[Turn]:
    if not isinstance(texts, list) or not texts:
        raise Bad("missing_field", "needs a list of texts {user, assistant}")
    found = []
    for number, text in enumerate(texts, start=1):
        for role in ("user", "assistant"):
            said = text.get(role) if isinstance(text, dict) else None
            if not isinstance(said, str):
                raise Bad("missing_field", f"turn {number}: no text of the {role}")
            found.append(Turn(turns.role(role), (said,)))
    return found


def _shown(found: list[Turn], images: Any) -> list[Turn]:
    """The turns with the pictures before the first of them, whatever texts say."""
    shown = pictures.pictures(images)
    first = found[0]
    content = (*shown, "\n", *first.content) if shown else first.content
    return [first._replace(content=content), *found[1:]]


def _ratings(values: dict[str, Any]) -> dict[str, float]:
    """The lowest rating of each column of ratings; of none where there are none."""
    lists = {k: v for k, v in values.items() if k.endswith(_RATINGS)}
    numbers = {
        k: [x for x in v if isinstance(x, int | float)]
        for k, v in lists.items()
        if isinstance(v, list)
    }
    return {k: min(v) for k, v in numbers.items() if v}


def _sources(texts: list[dict]) -> dict[str, str]:
    """Where the turns come from, if the row says so."""
    names = {t["source"] for t in texts if isinstance(t.get("source"), str)}
    return {"source": ", ".join(sorted(names))} if names else {}


def convert(record: Record, settings: Settings) -> Iterator[Raw | Reject]:
    """One conversation; raises Bad."""
    images, texts = settings.image_key or "images", settings.text_key or "texts"
    values = record.fields
    found = _shown(_turns(values.get(texts)), values.get(images))
    meta = _sources(values[texts])
    raw = fields.raw(record, (turns.render(found),), (images, texts), meta)
    yield raw._replace(scores={**meta, **raw.scores, **_ratings(values)})


def _sniff(path: pathlib.Path) -> bool:
    kinds = parquet.columns(path)
    inner = parquet.members(kinds.get("texts"))
    return "images" in kinds and {"user", "assistant"} <= inner.keys()


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    return parquet.units(path, folder, "cauldron")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return parquet.read(unit, settings, convert)


FORMAT = Format(parquet.SUFFIXES, _sniff, _units, _read)

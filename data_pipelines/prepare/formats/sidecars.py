"""Captions as a folder: beside each picture a .txt file with the same stem.

A folder of its own counts its pictures from 1, in the order of their names.
"""

import os
import pathlib
from collections.abc import Iterator

from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.raw import Picture, Raw, Reject, Unit
from data_pipelines.records import Text

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff",
)  # fmt: skip
UNIT_IMAGES = 20_000
_LISTS = (".jsonl", ".csv", ".tsv")


def _images(folder: str | pathlib.Path) -> list[str]:
    """Names of the pictures that lie in the folder itself."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in entries)
        return sorted(n for n in names if n.lower().endswith(IMAGE_SUFFIXES))


def _sniff(path: pathlib.Path) -> bool:
    """Whether any picture below the folder has its .txt.

    Not where a table or JSON lines tell about the pictures: those are read then.
    """
    if any(name.lower().endswith(_LISTS) for name in os.listdir(path)):
        return False
    for folder, folders, names in os.walk(path):
        folders.sort()
        stems = {n[:-4] for n in names if n.endswith(".txt")}
        for name in names:
            is_image = name.lower().endswith(IMAGE_SUFFIXES)
            if is_image and pathlib.Path(folder, name).stem in stems:
                return True
    return False


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    """Ranges of pictures of every folder below; the captions lie beside them."""
    for inner, folders, names in os.walk(path):
        folders.sort()
        count = sum(n.lower().endswith(IMAGE_SUFFIXES) for n in names)
        for start in range(0, count, UNIT_IMAGES):
            stop = min(start + UNIT_IMAGES, count)
            yield Unit(inner, "folder", inner, start, stop, start + 1)


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    del settings
    names = _images(unit.file)[unit.start : unit.stop]
    for number, name in enumerate(names, start=unit.first):
        caption = pathlib.Path(unit.file, name).with_suffix(".txt")
        reason, detail, text = "empty_caption", f"{caption.name} is empty", ""
        try:
            text = caption.read_text(encoding="utf-8-sig").strip()
        except FileNotFoundError:
            reason, detail = "missing_field", f"{name} has no {caption.name} beside it"
        except UnicodeDecodeError as error:
            reason, detail = "not_utf8", f"{caption.name}: {error}"
        except OSError as error:
            reason, detail = "missing_field", f"{caption.name}: {error.strerror}"
        if text:
            document = (Picture(path=name), Text(text))
            yield Raw(unit.file, number, (document,), unit.folder)
        else:
            yield Reject(unit.file, number, reason, detail, "record")


FORMAT = Format(("",), _sniff, _units, _read)

"""Files of evaluation sets, for `decontaminate`: their texts, and looks of images."""

import gzip
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from data_pipelines.prepare import photos, picture_hash
from data_pipelines.prepare.decontaminate import Evaluation, Look

# Names of fields that hold what a model is asked, shown or judged by, in the files of
# VQA, captions, POPE, LLaVA-Bench, ScienceQA, MMMU, ARC and chats.
TEXT_FIELDS = frozenset((
    "answer", "answers", "caption", "captions", "choices", "completion", "content",
    "context", "expression", "hint", "lecture", "multiple_choice_answer", "options",
    "para", "passage", "prompt", "question", "raw", "sent", "sentence", "sentences",
    "solution", "stem", "text", "texts", "title", "value",
))  # fmt: skip
IMAGES = frozenset((
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"
))  # fmt: skip
_SIDE = 448  # pixels; larger images are shrunk before they are compared


def read(paths: Sequence[str | pathlib.Path]) -> Evaluation:
    """An evaluation set from its files, and folders of images.

    A .json or .jsonl gives the strings in TEXT_FIELDS at any depth, a .txt its lines;
    all of them may be .gz. Of folders every image is taken, at any depth. Raises
    ValueError naming the file that can't be read, or that has nothing to look for.
    """
    texts: dict[str, None] = {}
    looks: dict[Look, None] = {}
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            found = dict.fromkeys(_looks(path))
            looks |= found
        else:
            found = dict.fromkeys(_texts(path))
            texts |= found
        if not found:
            fields = ", ".join(sorted(TEXT_FIELDS))
            rule = f"needs images, lines of text, or JSON with one of {fields}"
            raise ValueError(f"evaluation set {path}: nothing to look for: {rule}")
    return Evaluation(tuple(texts), tuple(looks))


def _texts(path: pathlib.Path) -> Iterator[str]:
    packed = path.suffix == ".gz"
    kind = path.with_suffix("").suffix if packed else path.suffix
    if kind not in _READERS:
        rule = f"must be a folder of images, or end in one of {', '.join(_READERS)}"
        raise ValueError(f"evaluation set {path}: {rule} (or those and .gz)")
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if packed else data).decode("utf-8-sig")
        yield from _READERS[kind](text)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise ValueError(f"evaluation set {path}: {error}") from error


def _lines(text: str) -> Iterator[str]:
    return filter(None, map(str.strip, text.splitlines()))


def _json(text: str) -> Iterator[str]:
    return _strings(json.loads(text), False)


def _jsonl(text: str) -> Iterator[str]:
    # Not splitlines: JSON may hold line separators that are none to JSONL.
    for line in filter(None, map(str.strip, text.split("\n"))):
        yield from _strings(json.loads(line), False)


_READERS = {".json": _json, ".jsonl": _jsonl, ".txt": _lines}


def _strings(value: Any, wanted: bool) -> Iterator[str]:
    """Strings under wanted fields, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            holds = str(name).lower() in TEXT_FIELDS
            yield from _strings(inner, holds or wanted)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, wanted)
    elif isinstance(value, str) and wanted:
        yield value


def _looks(folder: pathlib.Path) -> Iterator[Look]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGES and path.is_file():
            try:
                photo = photos.load(str(folder), str(path.relative_to(folder)), _SIDE)
            except photos.Refused as refused:
                raise ValueError(
                    f"evaluation set {folder}: {path.name}: {refused.detail}"
                ) from refused
            seen = picture_hash.perceptual(photo.image.data)
            yield Look(photo.digest, seen)

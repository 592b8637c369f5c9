"""All formats, which of them a corpus may have, and how a file's own is found."""

import glob
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data_pipelines.prepare.formats import (
    alpaca,
    captions,
    captions_parquet,
    cauldron,
    chat,
    chat_parquet,
    chat_tars,
    coco,
    energon,
    interleaved,
    interleaved_parquet,
    llava,
    mmc4,
    mmc4_tars,
    patterns,
    pickles,
    sidecars,
    tables,
    text,
    text_parquet,
    tfds,
    url_parquet,
    webdataset,
)
from data_pipelines.prepare.formats.base import Format

FORMATS: dict[str, Format] = {
    "captions": captions.FORMAT,
    "table": tables.FORMAT,
    "folder": sidecars.FORMAT,
    "coco": coco.COCO,
    "karpathy": coco.KARPATHY,
    "interleaved": interleaved.FORMAT,
    "mmc4": mmc4.FORMAT,
    "mmc4_assigned": mmc4.ASSIGNED,
    "text": text.FORMAT,
    "llava": llava.FORMAT,
    "chat": chat.FORMAT,
    "alpaca": alpaca.FORMAT,
    "captions_parquet": captions_parquet.FORMAT,
    "url_parquet": url_parquet.FORMAT,
    "webdataset": webdataset.FORMAT,
    "tfds": tfds.FORMAT,
    "interleaved_parquet": interleaved_parquet.FORMAT,
    "mmc4_tars": mmc4_tars.FORMAT,
    "text_parquet": text_parquet.FORMAT,
    "cauldron": cauldron.FORMAT,
    "chat_parquet": chat_parquet.FORMAT,
    "chat_tars": chat_tars.FORMAT,
    "energon": energon.FORMAT,
    "pickles": pickles.FORMAT,
}
CORPORA: dict[str, tuple[str, ...]] = {
    "captions": (
        "captions", "table", "folder", "coco", "karpathy", "captions_parquet",
        "url_parquet", "webdataset", "tfds", "energon", "pickles",
    ),
    "interleaved": (
        "interleaved", "mmc4", "mmc4_assigned", "interleaved_parquet", "mmc4_tars",
        "energon", "pickles",
    ),
    "text": ("text", "text_parquet"),
    "instructions": (
        "llava", "chat", "alpaca", "cauldron", "chat_parquet", "chat_tars", "energon",
        "pickles",
    ),
}  # fmt: skip
FOLDER = ""  # the suffix that stands for a folder among those of a format


class Input(NamedTuple):
    """One file, or one folder that is a corpus as a whole, to read."""

    file: str
    format: str  # a key of FORMATS
    folder: str  # of the pictures that it names


def sniff(path: pathlib.Path, corpus: str = "") -> str:
    """The format of a file or folder, of those that the corpus may have.

    A corpus "" may have any. Raises ValueError where none or several match.
    """
    names = _allowed(corpus)
    named = [name for name in names if _has_suffix(path, FORMATS[name])]
    found = [name for name in named if FORMATS[name].sniff(path)]
    if len(found) == 1:
        return found[0]
    advice = f"name the format, as in {(found or named or names)[0]}:{path}"
    if found:
        raise ValueError(f"{path}: may be {' or '.join(found)}; {advice}")
    if path.is_file() and not path.stat().st_size:
        raise ValueError(f"{path}: is empty")
    of_corpus = f" of {corpus}" if corpus else ""
    if not named:
        suffixes = sorted({s for n in names for s in FORMATS[n].suffixes if s})
        rule = f"must be one of {', '.join(suffixes)}"
        raise ValueError(f"{path}: no suffix{of_corpus}: {rule}; or {advice}")
    tried = ", ".join(named)
    raise ValueError(f"{path}: its first record fits none of {tried}; or {advice}")


def expand(
    file_patterns: Sequence[str], images_folder: str = "", corpus: str = ""
) -> list[Input]:
    """The files that paths, folders and patterns name, with their formats, sorted.

    A pattern may be a glob, have brace lists ({00000..01743}), join several with `::`,
    and begin with FORMAT: to say what its files are. Pictures are looked for in
    `images_folder`, or beside the file. Raises ValueError where a pattern leads to
    nothing, a file of a brace list is missing, or a format can't be told.
    """
    if images_folder and not pathlib.Path(images_folder).is_dir():
        raise ValueError(f"{images_folder}: no such folder of images")
    found = set()
    for joined in file_patterns:
        name, rest = _prefix(joined)
        for pattern in patterns.split(rest):
            for path in _paths(pattern, name, corpus):
                beside = path if path.is_dir() else path.parent
                folder = images_folder or str(beside)
                found.add(Input(str(path), name or sniff(path, corpus), folder))
    return sorted(found)


def _allowed(corpus: str) -> tuple[str, ...]:
    if corpus and corpus not in CORPORA:
        rule = f"must be one of {', '.join(CORPORA)}"
        raise ValueError(f"corpus {corpus!r}: {rule}")
    return CORPORA[corpus] if corpus else tuple(FORMATS)


def _has_suffix(path: pathlib.Path, form: Format) -> bool:
    if path.is_dir():
        return FOLDER in form.suffixes
    suffixes = tuple(suffix for suffix in form.suffixes if suffix != FOLDER)
    return path.name.lower().endswith(suffixes)


def _prefix(pattern: str) -> tuple[str, str]:
    """FORMAT and the rest of FORMAT:pattern; an empty one where there is none."""
    name, _, rest = pattern.partition(":")
    if name in FORMATS and rest and not rest.startswith(":"):
        return name, rest
    return "", pattern


def _paths(pattern: str, name: str, corpus: str) -> Iterator[pathlib.Path]:
    """What one pattern names; empty files only where it names them one by one."""
    path = pathlib.Path(pattern)
    if path.is_dir():
        yield from _of_folder(path, name, corpus)
        return
    if path.exists():
        yield path
        return
    names = patterns.braces(pattern)
    missing: list[str] = []
    for one in names:
        exists = pathlib.Path(one).exists()  # its name may look like a glob
        paths = [one] if exists else sorted(glob.glob(one, recursive=True))
        missing += [] if paths else [one]
        for found in map(pathlib.Path, paths):
            if found.is_dir():
                yield from _of_folder(found, name, corpus)
            elif found.stat().st_size:
                yield found
    if len(missing) == len(names):
        of_corpus = f" of {corpus}" if corpus else ""
        raise ValueError(f"{pattern}: no such file{of_corpus}")
    if missing:
        few = f"{len(missing)} of {len(names)} files are missing, first {missing[0]}"
        raise ValueError(f"{pattern}: {few}; a pattern with * takes what is there")


def _of_folder(folder: pathlib.Path, name: str, corpus: str) -> Iterator[pathlib.Path]:
    """The folder, if it is a corpus as a whole; otherwise its files, by suffix."""
    forms = [FORMATS[n] for n in ([name] if name else _allowed(corpus))]
    whole = [form for form in forms if FOLDER in form.suffixes]
    if any(name or form.sniff(folder) for form in whole):
        yield folder
        return
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    fitting = [
        path
        for path in files
        if any(_has_suffix(path, form) for form in forms)
        and path.stat().st_size
        and not path.name.startswith(".")
    ]
    if not fitting:
        of_corpus = f" of {corpus}" if corpus else ""
        raise ValueError(f"{folder}: no file{of_corpus} in this folder")
    yield from fitting

"""All formats, which of them a corpus may have, and how a file's own is found."""

import pathlib

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


def sniff(path: pathlib.Path, corpus: str = "") -> str:
    """The format of a file or folder, of those that the corpus may have.

    A corpus "" may have any. Raises ValueError where none or several match.
    """
    names = allowed(corpus)
    named = [name for name in names if has_suffix(path, FORMATS[name])]
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


def allowed(corpus: str) -> tuple[str, ...]:
    """The formats that a corpus may have; ValueError where there is no such corpus."""
    if corpus and corpus not in CORPORA:
        rule = f"must be one of {', '.join(CORPORA)}"
        raise ValueError(f"corpus {corpus!r}: {rule}")
    return CORPORA[corpus] if corpus else tuple(FORMATS)


def has_suffix(path: pathlib.Path, form: Format) -> bool:
    """Whether the path's name may be one of the format."""
    if path.is_dir():
        return FOLDER in form.suffixes
    suffixes = tuple(suffix for suffix in form.suffixes if suffix != FOLDER)
    return path.name.lower().endswith(suffixes)

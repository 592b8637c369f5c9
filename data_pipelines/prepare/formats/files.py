"""The files that a pattern of the command line leads to."""

import glob
import pathlib
from collections.abc import Iterator

from data_pipelines.prepare.formats import patterns, registry


def paths(pattern: str, name: str, corpus: str) -> Iterator[pathlib.Path]:
    """What one pattern names; empty files only where it names them one by one.

    A folder stands for its files, or for itself where that is a format (or the format
    `name`). Raises ValueError where nothing, or not all of a brace list, is there.
    """
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
        matches = [one] if exists else sorted(glob.glob(one, recursive=True))
        missing += [] if matches else [one]
        for found in map(pathlib.Path, matches):
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
    forms = [
        registry.FORMATS[n] for n in ([name] if name else registry.allowed(corpus))
    ]
    whole = [form for form in forms if registry.FOLDER in form.suffixes]
    if any(name or form.sniff(folder) for form in whole):
        yield folder
        return
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    tars = {path.stem for path in files if path.suffix == ".tar"}
    fitting = [
        path
        for path in files
        if any(registry.has_suffix(path, form) for form in forms)
        and path.stat().st_size
        and not path.name.startswith(".")
        and not _is_note(path, tars)
    ]
    if not fitting:
        of_corpus = f" of {corpus}" if corpus else ""
        raise ValueError(f"{folder}: no file{of_corpus} in this folder")
    yield from fitting


def _is_note(path: pathlib.Path, tars: set[str]) -> bool:
    """Whether img2dataset wrote the file about the tar beside it: its rows, or counts.

    00000.tar   00000.parquet   00000_stats.json
    """
    stem = path.name.removesuffix(".parquet").removesuffix("_stats.json")
    return stem != path.name and stem in tars

"""What a user names on the command line, as files to read, each with its format."""

import collections
import pathlib
from collections.abc import Iterator, Sequence

from data_pipelines.prepare.formats import (
    files,
    json_records,
    lists,
    patterns,
    registry,
    sampling,
    zips,
)
from data_pipelines.prepare.formats.base import Input
from data_pipelines.prepare.raw import Unit


def expand(
    file_patterns: Sequence[str], images_folder: str = "", corpus: str = ""
) -> list[Input]:
    """The files that paths, folders and patterns name, with their formats, sorted.

    A pattern may be a glob, have brace lists ({00000..01743}), join several with `::`,
    and begin with FORMAT: to say what its files are; one of a list of datasets may end
    in #NAME,NAME. Pictures are looked for in `images_folder`, or beside the file.
    Raises ValueError where a pattern leads to nothing, a file of a brace list is
    missing, or a format can't be told.
    """
    if images_folder and not pathlib.Path(images_folder).is_dir():
        raise ValueError(f"{images_folder}: no such folder of images")
    found: set[Input] = set()
    for joined in file_patterns:
        name, rest = _prefix(joined)
        for pattern in patterns.split(rest):
            listed = lists.find(pattern, name, corpus)
            if listed is not None:
                found.update(_members(listed, images_folder, corpus))
                continue
            for path in files.paths(pattern, name, corpus):
                beside = path if path.is_dir() else path.parent
                folder = images_folder or str(beside)
                found.add(Input(str(path), _format(path, name, corpus), folder))
    return sorted(found)


def units(file: Input) -> Iterator[Unit]:
    """The units of a file, which know what of it is wanted, and its names of fields.

    Where a share of its records, or the last of them, are wanted, they are counted.
    """
    path = pathlib.Path(file.file)
    total = json_records.count(path) if sampling.needs_total(file.sampling) else 0
    choice = sampling.choice(file.sampling, total, file.ignored)
    for unit in registry.FORMATS[file.format].units(path, file.folder):
        if not sampling.is_behind(unit.first, choice):
            yield unit._replace(choice=choice, columns=file.columns)


def _prefix(pattern: str) -> tuple[str, str]:
    """FORMAT and the rest of FORMAT:pattern; an empty one where there is none."""
    name, _, rest = pattern.partition(":")
    known = name in registry.FORMATS or name in lists.LISTS
    return (
        (name, rest) if known and rest and not rest.startswith(":") else ("", pattern)
    )


def _format(path: pathlib.Path, name: str, corpus: str) -> str:
    if path.name.lower().endswith(zips.SUFFIX):
        zips.check(path)
    return name or registry.sniff(path, corpus)


def _members(listed: lists.Listed, folder: str, corpus: str) -> list[Input]:
    """The datasets that a list names; ValueError where one is there twice."""
    found = []
    for one in listed.members(folder):
        paths = list(files.paths(one.file, one.format, corpus))
        formats = [_format(path, one.format, corpus) for path in paths]
        if one.sampling != sampling.ALL or one.ignored:
            _require_sampled(listed.path, paths, formats)
        for path, name in zip(paths, formats):
            found.append(one._replace(file=str(path), format=name))
    for one, count in collections.Counter(found).items():
        if count > 1:
            rule = (
                "equal documents are kept once: to have them more often, prepare it "
                "to an --output of its own, with a larger weight in mixture.weights"
            )
            raise ValueError(f"{listed.path}: names {one.file} {count} times: {rule}")
    return found


def _require_sampled(
    listed: pathlib.Path, paths: list[pathlib.Path], formats: list[str]
) -> None:
    """Raises ValueError where a sampling isn't one of a single file of JSON."""
    if len(paths) != 1:
        names = " and ".join(path.name for path in paths[:2])
        rule = "a part of their records is wanted: give each an entry of its own"
        raise ValueError(f"{listed}: one entry names {names}: {rule}")
    if registry.FORMATS[formats[0]].suffixes != json_records.SUFFIXES:
        rule = "a part can be read of .json and .jsonl only"
        raise ValueError(f"{listed}: {paths[0]}: {rule}")

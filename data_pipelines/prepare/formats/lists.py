"""Lists of datasets: files that name other files, and how these are read."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from data_pipelines.prepare.formats import (
    energon,
    listing,
    llama_factory,
    llava_mixture,
    vila,
)
from data_pipelines.prepare.formats.base import Input

CORPUS = "instructions"  # the corpus that all of them are lists of


class List(NamedTuple):
    """One way to list datasets. Its functions are pure but for reading.

    `sniff` looks at the file's values; `members` gives what the named datasets are,
    as inputs whose file may be a pattern, and whose format may be yet to tell.
    """

    sniff: Callable[[Any], bool]
    members: Callable[[pathlib.Path, list[str], str], Iterator[Input]]


class Listed(NamedTuple):
    """A list, and the names of those of its datasets that are wanted."""

    list: List
    path: pathlib.Path
    names: list[str]

    def members(self, folder: str) -> Iterator[Input]:
        """The datasets; their pictures are in `folder`, if they don't say where."""
        return self.list.members(self.path, self.names, folder)


LISTS = {
    "llava_mixture": List(llava_mixture.sniff, llava_mixture.members),
    "vila": List(vila.sniff, vila.members),
    "llama_factory": List(llama_factory.sniff, llama_factory.members),
}


def find(pattern: str, name: str, corpus: str) -> Listed | None:
    """The list that PATH or PATH#NAME,NAME is; None where it is something else.

    `name` says which, as a key of LISTS; a key of FORMATS says that it is none. Raises
    ValueError where a file that should be one fits none of them.
    """
    path, names = _split(pattern)
    if name in LISTS:
        if corpus not in ("", CORPUS):
            raise ValueError(f"{name}:{pattern}: is a list of {CORPUS}, not {corpus}")
        return Listed(LISTS[name], path, names)
    may_be = names or path.name == llama_factory.NAME or path.suffix in listing.SUFFIXES
    if name or not may_be or not path.is_file() or corpus not in ("", CORPUS):
        return None
    values = listing.loaded(path)
    found = [one for one, kind in LISTS.items() if kind.sniff(values)]
    if len(found) == 1:
        return Listed(LISTS[found[0]], path, names)
    if not names and energon.FORMAT.sniff(path):
        return None
    kinds = ", ".join(found or LISTS)
    told = f"may be each of {kinds}" if found else f"is no list of {kinds}"
    raise ValueError(
        f"{path}: {told}; name it, as in {(found or [*LISTS])[0]}:{pattern}"
    )


def _split(pattern: str) -> tuple[pathlib.Path, list[str]]:
    """PATH and names of PATH#NAME,NAME; a file may have a # in its own name."""
    head, _, tail = pattern.rpartition("#")
    path = pathlib.Path(pattern)
    if not head or path.exists() or not pathlib.Path(head).is_file():
        return path, []
    return pathlib.Path(head), [name for name in tail.split(",") if name]

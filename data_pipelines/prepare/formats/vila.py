"""VILA's registry of datasets, and the mixtures that name some of them.

    datasets/default.yaml   NAME: {_target_: ..., data_path: a.json, media_dir: photos}
    mixtures.yaml           NAME: [NAME, NAME@SUBSET, ...]

`_target_` is never looked up: files are known by what they hold. NAME@SUBSET leaves
records out that SUBSET/NAME.json, beside the registry, lists by their places.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import listing
from data_pipelines.prepare.formats.base import Input

_MIXTURES = "mixtures.yaml"  # beside the registry, or one folder above, as in VILA
_DEEP = 8  # mixtures inside of mixtures


def sniff(values: Any) -> bool:
    """Whether a list's values are those of a registry."""
    entries = list(values.values()) if isinstance(values, dict) else []
    return bool(entries) and all(
        isinstance(one, dict) and "data_path" in one for one in entries
    )


def members(path: pathlib.Path, names: list[str], folder: str) -> Iterator[Input]:
    """The named datasets, as patterns whose format isn't told yet."""
    known = listing.mapping(path, "the top level", listing.loaded(path))
    mixtures = _mixtures(path)
    listing.named(path, [_plain(name) for name in names], known | mixtures)
    for name in _expanded(path, names, mixtures, _DEEP):
        yield _member(path, name, known, folder)


def _member(path: pathlib.Path, name: str, known: dict[str, Any], folder: str) -> Input:
    plain, _, subset = name.partition("@")
    if "*" in name:
        rule = (
            "repeats are shares of a mixture, and a corpus keeps equal documents once: "
            f"prepare {_plain(name)} to an --output of its own, and give that source a "
            "larger weight in mixture.weights"
        )
        raise ValueError(f"{path}: {name}: {rule}")
    (plain,) = listing.named(path, [plain], known)
    entry = listing.mapping(path, plain, known[plain])
    file = listing.local(path, f"{plain}: data_path", entry.get("data_path"))
    given = entry.get("media_dir")
    media = listing.local(path, f"{plain}: media_dir", given) if given else None
    if media is not None and not media.is_dir():
        raise ValueError(f"{path}: {plain}: media_dir {media}: no such folder")
    ignored = path.parent / subset / f"{plain}.json" if subset else None
    if ignored is not None and not ignored.is_file():
        raise ValueError(f"{path}: {name}: {ignored} is missing, the list to leave out")
    images = str(media) if media else folder or str(path.parent)
    return Input(str(file), "", images, ignored=str(ignored or ""))


def _plain(name: str) -> str:
    """The name without what follows * and @."""
    return name.partition("@")[0].partition("*")[0]


def _mixtures(path: pathlib.Path) -> dict[str, Any]:
    for home in (path.parent, path.parent.parent):
        file = home / _MIXTURES
        if file.is_file() and file != path:
            return listing.mapping(file, "the top level", listing.loaded(file))
    return {}


def _expanded(
    path: pathlib.Path, names: list[str], mixtures: dict[str, Any], depth: int
) -> Iterator[str]:
    """Names of datasets, those of mixtures in their place."""
    if not depth:
        raise ValueError(f"{path}: mixtures are nested more than {_DEEP} times")
    for name in names:
        if name not in mixtures:
            yield name
            continue
        inner = mixtures[name]
        if not isinstance(inner, list) or not all(isinstance(n, str) for n in inner):
            raise ValueError(f"{path}: mixture {name} must be a list of names")
        yield from _expanded(path, inner, mixtures, depth - 1)

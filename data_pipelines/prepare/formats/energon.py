"""Datasets that are several tars: Energon's folders and blends, and VILA's wids lists.

    DIR/.nv-meta/{split.yaml, .info.yaml}   DIR/*.tar
    blend.yaml: {__class__: Metadataset, splits: {train: {datasets: [{weight, path}]}}}
    wids-meta.json: {shardlist: [{url, nsamples}]}

Tars are read as what they hold. A corpus holds no weights, so a blend of several
datasets is refused, with the sources and weights that make it one in a run's config.
"""

import math
import pathlib
from collections.abc import Callable, Iterator

from data_pipelines.prepare.formats import (
    chat_tars,
    listing,
    mmc4_tars,
    patterns,
    webdataset,
)
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.raw import Raw, Reject, Unit

SPLIT = "train"
_NV, _WIDS = ".nv-meta", "wids-meta.json"
_BLENDS = ("datasets", "blend", "blend_epochized")  # keys of a split with a list
_DEEP = 8  # blends inside of blends
_PARTS = 10_000  # to which shares are rounded when they are told as weights
_TOLD = 8  # datasets that are named, of those of a blend
_TARS: dict[str, Format] = {
    "webdataset": webdataset.FORMAT,
    "chat_tars": chat_tars.FORMAT,
    "mmc4_tars": mmc4_tars.FORMAT,
}


def tars(path: pathlib.Path) -> list[pathlib.Path]:
    """The tars of a folder, of a blend of one dataset, or of a wids list, in order.

    Of splits, the one for training. Raises ValueError where one is missing, and for a
    blend of several datasets.
    """
    shares = weights(path)
    if len(shares) > 1:
        raise ValueError(f"{path}: {_advice(shares)}")
    found = dict.fromkeys(_tars_of(pathlib.Path(next(iter(shares)))))
    for tar in found:
        if not tar.is_file():
            raise ValueError(f"{path}: names {tar}, which is missing")
    if not found:
        raise ValueError(f"{path}: no tar in it")
    return list(found)


def weights(path: pathlib.Path) -> dict[str, float]:
    """Share of each dataset (folder, tar or list) of a blend in what is drawn.

    Shares sum to 1; of epochized blends they are shares of repetitions. What is no
    blend has itself with share 1.
    """
    return _weights(path, _DEEP)


def _advice(shares: dict[str, float]) -> str:
    """What to do with a blend of several datasets, in one line."""
    whole = [max(1, round(share * _PARTS)) for share in shares.values()]
    divisor = math.gcd(*whole)
    numbers = ",".join(str(number // divisor) for number in whole)
    few = [*shares][:_TOLD]
    names = ", ".join(few) + ", ..." * (len(shares) > _TOLD)
    return (
        f"blends {len(shares)} datasets, whose weights a corpus can't hold: prepare "
        f"each ({names}) to an --output of its own, with one --tokenizer, and train on "
        f"these as data.sources, with mixture.weights={numbers}; or join them by ::, "
        "to have each document equally often"
    )


def _weights(path: pathlib.Path, depth: int) -> dict[str, float]:
    if path.suffix not in listing.SUFFIXES:
        return {str(path): 1.0}
    if not depth:
        raise ValueError(f"{path}: blends are nested more than {_DEEP} times")
    parts = list(_parts(path))
    total = sum(weight for _, weight in parts)
    if not total > 0:
        raise ValueError(f"{path}: weights sum to {total}: must be positive")
    shares: dict[str, float] = {}
    for inner, weight in parts:
        for name, share in _weights(inner, depth - 1).items():
            shares[name] = shares.get(name, 0.0) + share * weight / total
    return shares


def _parts(path: pathlib.Path) -> Iterator[tuple[pathlib.Path, float]]:
    """Path and weight of each dataset that a blend lists itself."""
    splits = listing.mapping(path, "the top level", listing.loaded(path)).get("splits")
    splits = listing.mapping(path, "splits", splits)
    split = listing.mapping(path, f"splits: {SPLIT}", splits.get(SPLIT))
    key = next((key for key in _BLENDS if key in split), "")
    entries = split[key] if key else [split]
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: {SPLIT}: {key} must be a list of datasets")
    for number, entry in enumerate(entries, start=1):
        where = f"{SPLIT}: dataset {number}"
        values = entry if isinstance(entry, dict) else {}
        inner = values.get("path")
        if not isinstance(inner, str) or "://" in inner:
            raise ValueError(f"{path}: {where}: path {inner!r} must be a local path")
        if values.get("split_part", SPLIT) != SPLIT:
            rule = f"split_part {values['split_part']!r}: only {SPLIT} is read"
            raise ValueError(f"{path}: {where}: {rule}")
        weight = values.get("weight", values.get("repetitions", 1))
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise ValueError(f"{path}: {where}: weight {weight!r} must be a number")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"{path}: {where}: weight {weight} must not be negative")
        if weight:
            yield path.parent / inner, float(weight)


def _tars_of(path: pathlib.Path) -> list[pathlib.Path]:
    if path.is_dir():
        return _of_folder(path)
    if path.name.endswith(_WIDS):
        return _of_wids(path)
    if path.suffix == ".tar":
        return [path]
    rule = "must be a folder of tars, a .tar, a wids-meta.json or a .yaml"
    raise ValueError(f"{path}: {rule}" if path.exists() else f"{path}: is missing")


def _of_folder(folder: pathlib.Path) -> list[pathlib.Path]:
    """Tars of the training split, less those that its split.yaml excludes."""
    split = folder / _NV / "split.yaml"
    if not split.is_file():
        return sorted(folder.glob("**/*.tar"))
    values = listing.mapping(split, "the top level", listing.loaded(split))
    parts = values.get("split_parts")
    named = parts.get(SPLIT) if isinstance(parts, dict) else None
    excluded = values.get("exclude") or []
    for names in (named, excluded):
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            rule = f"split_parts: {SPLIT} and exclude must be lists of names"
            raise ValueError(f"{split}: {rule}")
    left_out = {n for pattern in excluded for n in patterns.braces(pattern)}
    for name in sorted(left_out):
        if not name.endswith(".tar"):
            raise ValueError(f"{split}: excludes {name!r}: only whole tars can be")
    every = [n for pattern in named or [] for n in patterns.braces(pattern)]
    return [folder / name for name in every if name not in left_out]


def _of_wids(path: pathlib.Path) -> list[pathlib.Path]:
    values = listing.mapping(path, "the top level", listing.loaded(path))
    shards = values.get("shardlist")
    listed = [s.get("url") if isinstance(s, dict) else None for s in shards or []]
    urls = [url for url in listed if isinstance(url, str)]
    if not isinstance(shards, list) or len(urls) < len(shards):
        raise ValueError(f"{path}: needs shardlist, a list of {{url, nsamples}}")
    for url in urls:
        if "://" in url and not url.startswith("file://"):
            raise ValueError(f"{path}: {url} is not local: download it first")
    return [path.parent / url.removeprefix("file://") for url in urls]


def _sniff(path: pathlib.Path) -> bool:
    if path.is_dir():
        return (path / _NV).is_dir() or (path / _WIDS).is_file()
    values = listing.loaded(path)
    keys = values.keys() if isinstance(values, dict) else ()
    return ("shardlist" if path.name.endswith(_WIDS) else "splits") in keys


def _format(path: pathlib.Path) -> str:
    """What a tar holds; ValueError where that is nothing known."""
    for name, form in _TARS.items():
        # Of conversations with a caption's field, turns count.
        if name != "webdataset" and form.sniff(path):
            return name
    if webdataset.FORMAT.sniff(path):
        return "webdataset"
    raise ValueError(f"{path}: its first sample fits none of {', '.join(_TARS)}")


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    """Units of the tars, in the format of what each holds."""
    listed = path / _WIDS
    root = listed if not (path / _NV).is_dir() and listed.is_file() else path
    for tar in tars(root):
        yield from _TARS[_format(tar)].units(tar, folder)


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    read: Callable[..., Iterator[Raw | Reject]] = _TARS[unit.format].read
    return read(unit, settings)


FORMAT = Format(("", ".yaml", ".yml", _WIDS), _sniff, _units, _read)

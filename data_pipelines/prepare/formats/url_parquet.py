"""LAION and COYO parquet: rows with a URL and a caption, joined to downloaded files.

No pictures inside. A row's picture is looked up in the folder by the column that names
its file, by its key or id, or by a hash of its URL, as common downloaders name files.
"""

import hashlib
import os
import pathlib
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from data_pipelines.prepare.formats import captions, fields, parquet, wordings
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.raw import Part, Picture, Raw, Reject, Unit

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# In lower case; LAION writes URL and TEXT.
_TEXTS = ("text", "caption", "title", "alt")
_FILES = ("file", "file_name", "filename", "image_path", "filepath", "path")
_KEYS = ("key", "uid", "id", "image_id", "hash", "sha256", "md5")
_HASHES = ("md5", "sha1", "sha256")  # of a URL, in hexadecimal digits
# Web pages as text have a URL and a text, too; one of these tells pictures.
_SIGNS = (
    "caption", "alt", "width", "original_width", "similarity", "key",
    "clip_similarity_vitb32", "punsafe", "pwatermark",
)  # fmt: skip
_SHARD_DIGITS = 4  # img2dataset: a key without them is the name of the shard's folder


def convert(record: Record, settings: Settings) -> Iterator[Raw | Reject]:
    """A picture and its caption; raises Bad where the picture was not downloaded."""
    values = record.fields
    lower = {name.lower(): name for name in values}
    text_key = settings.text_key or _first(lower, _TEXTS)
    url, text = values.get(lower.get("url", "")), values.get(text_key)
    status = values.get("status")
    if status not in (None, "success"):
        detail = f"status {status!r}: {values.get('error_message')}"
        raise Bad("not_downloaded", f"{str(url)[:200]}: {detail}")
    name = _found(record, lower, url, settings)
    shown = Picture(path=name, url=url if isinstance(url, str) else "")
    other = wordings.key(values, settings)
    behind = f" of {str(url)[:200]}"
    documents: list[tuple[Part, ...]] = []
    yield from captions.tell(record, shown, [text], other, documents, behind=behind)
    if documents:
        used = (text_key, lower.get("url", ""), "status", "error_message", other)
        yield fields.raw(record, documents, used, url=shown.url)


def _first(lower: dict[str, str], names: Sequence[str]) -> str:
    """The column that one of these names is, whatever its case."""
    return next((lower[name] for name in names if name in lower), "")


def _found(record: Record, lower: dict[str, str], url: Any, settings: Settings) -> str:
    """Path, inside the folder, of the row's picture; raises Bad if it isn't there."""
    names = list(_names(record, lower, url, settings.image_key))
    for name in names:
        if os.path.isfile(os.path.join(record.unit.folder, name)):
            return name
    tried = f"{str(url)[:200]}: no {', '.join(names[:3])}... in {record.unit.folder}"
    if settings.missing_image == "error":
        where = f"{record.unit.file}: record {record.number}"
        raise ValueError(f"{where}: missing_image: {tried}")
    raise Bad("missing_image", tried)


def _names(
    record: Record, lower: dict[str, str], url: Any, image_key: str
) -> Iterator[str]:
    """The names that the row's picture may have, most telling first."""
    values = record.fields
    for column in [image_key] if image_key else [lower.get(n, "") for n in _FILES]:
        if isinstance(values.get(column), str) and _is_inside(values[column]):
            yield values[column]
    if image_key:
        return
    shard = pathlib.Path(record.unit.file).stem
    for column in (lower.get(name, "") for name in _KEYS):
        key = values.get(column)
        if isinstance(key, str | int) and str(key) and _is_inside(str(key)):
            stems = (str(key), f"{str(key)[:-_SHARD_DIGITS]}/{key}", f"{shard}/{key}")
            yield from (f"{s}{x}" for s in stems[: 3 if column == "key" else 1]
                        for x in _SUFFIXES)  # fmt: skip
    if isinstance(url, str):
        data = url.encode("utf-8", "replace")
        for name in _HASHES:
            digest = hashlib.new(name, data, usedforsecurity=False).hexdigest()
            yield from (f"{digest}{suffix}" for suffix in _SUFFIXES)


def _is_inside(name: str) -> bool:
    """Whether a name can't lead out of the folder."""
    path = pathlib.PurePath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _has_pictures(folder: str) -> bool:
    for _, folders, names in os.walk(folder):
        folders.sort()
        if any(name.lower().endswith(_SUFFIXES) for name in names):
            return True
    return False


def _command(path: pathlib.Path, kinds: dict[str, Any], folder: str) -> str:
    """The img2dataset line that downloads the file's pictures."""
    lower = {name.lower(): name for name in kinds}
    told = {lower.get("url", ""), _first(lower, _TEXTS)}
    extra = [f'"{name}"' for name in kinds if name not in told]
    options = {
        "url_list": str(path),
        "input_format": "parquet",
        "url_col": lower.get("url", ""),
        "caption_col": _first(lower, _TEXTS),
        "output_format": "webdataset",
        "output_folder": str(pathlib.Path(folder, "tars")),
        "image_size": "512",
        "resize_mode": "keep_ratio",
        "resize_only_if_bigger": "True",
        "save_additional_columns": f"[{','.join(extra)}]",
    }
    pairs = [f"--{name}={shlex.quote(value)}" for name, value in options.items()]
    return " ".join(["img2dataset", *pairs])


def _sniff(path: pathlib.Path) -> bool:
    kinds = parquet.columns(path)
    lower = {name.lower(): name for name in kinds}
    if captions.keys(kinds, Settings())[0]:
        return False  # it names files, or holds them
    known = "url" in lower and bool(_first(lower, _TEXTS))
    return known and any(sign in lower for sign in _SIGNS)


def _units(path: pathlib.Path, folder: str) -> Iterator[Unit]:
    if not _has_pictures(folder):
        command = _command(path, parquet.columns(path), folder)
        raise ValueError(
            f"{path}: lists URLs, and {folder} holds no pictures: download them with  "
            f"{command}  and read the tars that it writes"
        )
    yield from parquet.units(path, folder, "url_parquet")


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    return parquet.read(unit, settings, convert)


FORMAT = Format(parquet.SUFFIXES, _sniff, _units, _read)

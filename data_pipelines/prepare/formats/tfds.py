"""Captions of a prepared TensorFlow dataset in ArrayRecords, read without TensorFlow.

    DIR/{dataset_info.json, features.json, NAME-train.array_record-00000-of-00001}

Features: an image, and a text, caption or captions. The split for training is read.
"""

import functools
import importlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from array_record.python import (
    array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
)

from data_pipelines.prepare.formats import fields
from data_pipelines.prepare.formats.base import Format, Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.raw import Picture, Raw, Reject, Unit
from data_pipelines.records import Text

SPLIT = "train"
UNIT_RECORDS = 10_000
_IMAGES, _TEXTS = ("image",), ("captions", "caption", "text")
_INFO, _FEATURES = "dataset_info.json", "features.json"


def units(
    path: pathlib.Path, folder: str, most_records: int = UNIT_RECORDS
) -> Iterator[Unit]:
    """Ranges of records of the split's files, in order; ValueError as `_check` says."""
    _check(path)
    files = sorted(path.glob(f"*-{SPLIT}.array_record*"))
    if not files:
        raise ValueError(f"{path}: no file of the split {SPLIT}")
    for file in files:
        count = _reader(str(file)).num_records()
        for start in range(0, count, most_records):
            stop = min(start + most_records, count)
            yield Unit(str(file), "tfds", folder, start, stop, start + 1)


def convert(record: Record, settings: Settings) -> Iterator[Raw | Reject]:
    """A picture and each of its captions, as documents of one Raw; raises Bad."""
    values = record.fields
    image_key = _key(record.unit.file, values, settings.image_key, _IMAGES)
    text_key = _key(record.unit.file, values, settings.text_key, _TEXTS)
    data = values[image_key]
    if not isinstance(data, bytes) or not data:
        raise Bad("missing_image", f"{image_key} is no encoded image")
    given = values[text_key]
    if isinstance(given, dict):  # {"text": [...], "id": [...]}, as in coco_captions
        given = given.get("text")
    documents = []
    for caption in given if isinstance(given, list) else [given]:
        said = _decoded(caption)
        if isinstance(said, str) and said.strip():
            documents.append((Picture(data=data), Text(said.strip())))
        else:
            bad = Bad("empty_caption", f"caption {str(said)[:80]!r}")
            yield fields.reject(record, bad, "caption")
    left = {k: _decoded(v) for k, v in values.items() if k not in (image_key, text_key)}
    if documents:
        yield fields.raw(record._replace(fields=left), documents, ())


def _key(file: str, values: dict[str, Any], asked: str, known: tuple[str, ...]) -> str:
    """The feature to read; ValueError where the dataset hasn't got it."""
    names = (asked,) if asked else known
    key = next((name for name in names if name in values), "")
    if not key:
        needs = " or ".join(names)
        raise ValueError(f"{file}: no feature {needs}, has {sorted(values)}")
    return key


def _decoded(value: Any) -> Any:
    """Bytes as text where they are; raises Bad."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Bad("not_utf8", str(error)) from error


def _read(unit: Unit, settings: Settings) -> Iterator[Raw | Reject]:
    features = _features(str(pathlib.Path(unit.file).parent))
    reader = _reader(unit.file)
    for number, index in enumerate(range(unit.start, unit.stop), start=unit.first):
        try:
            # The range form costs O(1), read([index]) O(records of the file).
            example = reader.read(index, index + 1)[0]
        except (RuntimeError, IndexError) as error:
            yield Reject(unit.file, number, "broken_file", str(error), "record")
            continue
        yield from _of_example(unit, number, example, features, settings)


def _of_example(
    unit: Unit, number: int, example: bytes, features: Any, settings: Settings
) -> Iterator[Raw | Reject]:
    decoders = {name: _library().decode.SkipDecoding() for name in _pictures(features)}
    try:
        values = features.deserialize_example_np(example, decoders=decoders)
    except Exception as error:  # whatever its parsers stumble over
        detail = f"not of these features: {type(error).__name__}: {error}"
        yield Reject(unit.file, number, "malformed_example", detail, "record")
        return
    record = Record(unit, number, {k: _plain(v) for k, v in values.items()})
    try:
        yield from convert(record, settings)
    except Bad as bad:
        yield Reject(unit.file, number, bad.reason, bad.detail, "record")


def _pictures(features: Any) -> list[str]:
    kinds = _library().features
    return [name for name, kind in features.items() if isinstance(kind, kinds.Image)]


def _plain(value: Any) -> Any:
    """The value without numpy."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _reader(file: str) -> Any:
    try:
        return array_record_module.ArrayRecordReader(file)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{file}: not a whole ArrayRecord file ({error})") from error


def _check(path: pathlib.Path) -> None:
    """Raises ValueError where the folder can't be read without TensorFlow."""
    try:
        info = json.loads((path / _INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path / _INFO}: can't be read ({error})") from error
    kept = info.get("fileFormat", "tfrecord")
    if kept != "array_record":
        raise ValueError(
            f"{path}: files are {kept}, but only array_record is read: convert it with "
            " python -m tensorflow_datasets.scripts.convert_format "
            f"--dataset_version_dir={path} --out_file_format=array_record"
        )
    splits = [split["name"] for split in info.get("splits", [])]
    if SPLIT not in splits:
        raise ValueError(f"{path}: needs the split {SPLIT}, has {', '.join(splits)}")
    _features(str(path))


@functools.lru_cache(maxsize=8)
def _features(folder: str) -> Any:
    """The features of a prepared dataset, as its features.json tells them."""
    path = pathlib.Path(folder) / _FEATURES
    library = _library()
    try:
        return library.features.FeatureConnector.from_config(folder)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: can't be read ({error!r})") from error
    except ImportError as error:
        raise ValueError(f"{path}: some feature needs TensorFlow ({error})") from error


def _library() -> Any:
    try:
        importlib.import_module("importlib_resources")
        return importlib.import_module("tensorflow_datasets")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{error.name} is not installed: run  pip install 'mmjax[tfds]'"
        ) from error


def _sniff(path: pathlib.Path) -> bool:
    return path.is_dir() and all((path / n).is_file() for n in (_INFO, _FEATURES))


FORMAT = Format(("",), _sniff, units, _read)

"""Finding and opening the files of a benchmark: JSON, JSON lines, TSV and parquet."""

import csv
import gzip
import io
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmjax.evals.example import Example

Record = Mapping[str, Any]


def find(root: pathlib.Path, names: Sequence[str], what: str) -> list[pathlib.Path]:
    """The files of the first of these names (or patterns) that exist below `root`.

    A name stands for its `.gz` too. Empty if none exists and the last name is empty:
    such a file is optional. ValueError says which file of `what` to put where.
    """
    for name in names:
        for pattern in (name, name + ".gz") if name else ():
            if found := sorted(root.glob(pattern)):
                return found
    if not names[-1]:
        return []
    other = "".join(f" (or {name})" for name in names[1:])
    raise ValueError(f"{what}: put {names[0]}{other} into {root}")


def text(path: pathlib.Path) -> str:
    """The text of a file, unpacked if its name ends in .gz."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read().decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} can't be read: {error}") from None


def load(path: pathlib.Path) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def rows(path: pathlib.Path) -> Iterator[Record]:
    """The records of a table: JSON lines, a JSON list, TSV, CSV or parquet."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        yield from _parquet(path)
    elif name.endswith((".tsv", ".csv")):
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        whole = io.StringIO(text(path), newline="")  # fields may hold line ends
        yield from csv.DictReader(whole, delimiter="\t" if ".tsv" in name else ",")
    else:
        yield from _json(path)


def field(content: Any, name: str, path: pathlib.Path) -> Any:
    """A field at the top of a JSON file."""
    if not isinstance(content, dict) or name not in content:
        raise ValueError(f"{path} has no field {name!r} at its top")
    return content[name]


def examples(
    path: pathlib.Path,
    records: Iterable[Any],
    make: Callable[[Any], Example | Iterable[Example]],
) -> Iterator[Example]:
    """The example or examples of each record; ValueError names a malformed one."""
    for number, record in enumerate(records):
        try:
            made = make(record)
            made = [made] if isinstance(made, Example) else list(made)
        except KeyError as error:
            raise ValueError(f"{path}: record {number} has no {error}") from None
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"{path}: record {number} is malformed: {error}") from None
        yield from made


def _json(path: pathlib.Path) -> Iterator[Record]:
    """A JSON list, or a record a line: distributors name both `.json`."""
    whole = text(path)
    if whole.lstrip().startswith("["):
        yield from load(path)
        return
    for number, line in enumerate(whole.split("\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path}: line {number} is not JSON: {error}"
                ) from None


def _parquet(path: pathlib.Path) -> Iterator[Record]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(f"{path} needs pyarrow: pip install pyarrow") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(256):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise ValueError(f"{path} can't be read: {error}") from None

"""Files of JSON records, a line each, that are gone on with after a kill."""

import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any


def read(path: str | pathlib.Path, what: str) -> dict[str, dict[str, Any]]:
    """Records by their `id`, in the file's order; none where there is no file.

    A last line that is cut off is removed. ValueError, naming the line, where a whole
    one isn't `what`: a record with an id.
    """
    path, found, good = pathlib.Path(path), {}, 0
    if not path.exists():
        return found
    data = path.read_bytes()
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            break
        try:
            record = json.loads(line)
            found[record["id"]] = record
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: no {what}") from error
        good += len(line)
    if good < len(data):
        os.truncate(path, good)
    return found


def append(path: str | pathlib.Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Writes whole lines at the end of the file, on disk when this returns."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(text(records))
        file.flush()
        os.fsync(file.fileno())


def text(records: Iterable[Mapping[str, Any]]) -> str:
    """The records as lines."""
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records)


def is_whole(value: Any) -> bool:
    """Whether a value of JSON is a whole number, which true and false aren't."""
    return isinstance(value, int) and not isinstance(value, bool)

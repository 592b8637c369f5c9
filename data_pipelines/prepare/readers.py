"""Files of a user, line by line: JSON lines, tables and texts."""

import csv
import glob
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from data_pipelines.prepare.own import CORPORA, Line, Reject

PASSAGE = 2000  # characters, at least, of a passage
_HEADING = re.compile(r"^ ?= [^=].* = ?$")  # of an article, as in WikiText
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SUFFIXES = {
    "captions": (".jsonl", ".csv", ".tsv"),
    "interleaved": (".jsonl",),
    "text": (".txt", ".jsonl"),
}


class Input(NamedTuple):
    """One file to read."""

    corpus: str  # one of CORPORA
    file: str
    images: str  # folder of the images that it names


def inputs(
    corpus: str, patterns: Sequence[str], images: str | None = None
) -> list[Input]:
    """The files that paths, patterns or folders name, checked.

    Images are looked for in `images`, or beside the file that names them. Raises
    ValueError where a path leads to nothing or a file is of the wrong sort.
    """
    if corpus not in CORPORA:
        raise ValueError(f"corpus {corpus!r}: must be one of {', '.join(CORPORA)}")
    if images and not pathlib.Path(images).is_dir():
        raise ValueError(f"{images}: no such folder of images")
    found = []
    for pattern in patterns:
        for path in _expanded(corpus, pattern):
            if path.suffix not in _SUFFIXES[corpus]:
                rule = f"{corpus} must be {' or '.join(_SUFFIXES[corpus])}"
                raise ValueError(f"{path}: {rule}")
            if path.suffix in _DELIMITERS:
                _check_header(path)
            found.append(Input(corpus, str(path), images or str(path.parent)))
    return sorted(set(found))


def documents_at_most(file: Input) -> int:
    """About how many lines the file gives, from its size alone or by counting."""
    path = pathlib.Path(file.file)
    if path.suffix == ".txt":
        return path.stat().st_size // PASSAGE + 1
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def lines(file: Input, text_split: str) -> Iterator[Line | Reject]:
    """The lines of the file that hold something, or pieces of a text."""
    suffix = pathlib.Path(file.file).suffix
    if suffix == ".jsonl":
        yield from _json_lines(file)
    elif suffix in _DELIMITERS:
        yield from _table(file, _DELIMITERS[suffix])
    else:
        yield from _text(file, text_split)


def _expanded(corpus: str, pattern: str) -> list[pathlib.Path]:
    path = pathlib.Path(pattern)
    if path.is_dir():
        paths = [p for p in path.iterdir() if p.suffix in _SUFFIXES[corpus]]
    else:
        paths = [path] if path.exists() else map(pathlib.Path, glob.glob(pattern))
    paths = sorted(paths)
    if not paths:
        raise ValueError(f"{pattern}: no such file of {corpus}")
    return paths


def _check_header(path: pathlib.Path) -> None:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(_rows(file, _DELIMITERS[path.suffix]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: the header can't be read ({error})") from error
    missing = {"image", "caption"} - set(header)
    if missing:
        raise ValueError(f"{path}: header {header} must name image and caption")


def _rows(file: Iterable[str], delimiter: str):
    # Tabs need no quotes, so a quotation mark in such a table is just that.
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    return csv.reader(file, delimiter=delimiter, quoting=quoting)


def _raw_lines(file: Input) -> Iterator[bytes]:
    with open(file.file, "rb") as opened:
        for number, raw in enumerate(opened):
            yield raw if number else raw.removeprefix(_BOM)


def _json_lines(file: Input) -> Iterator[Line]:
    for number, raw in enumerate(_raw_lines(file), start=1):
        if raw.strip():
            yield Line(file.corpus, file.file, number, file.images, raw)


def _decoded(file: Input, bad: list[Reject]) -> Iterator[str]:
    """Lines as text; one that isn't UTF-8 is empty, and noted in `bad`."""
    for number, raw in enumerate(_raw_lines(file), start=1):
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            bad.append(Reject(file.file, number, "not_utf8", str(error), "line"))
            yield "\n"


def _table(file: Input, delimiter: str) -> Iterator[Line | Reject]:
    bad: list[Reject] = []
    rows = _rows(_decoded(file, bad), delimiter)
    header = next(rows)
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            number = rows.line_num
            yield Reject(file.file, number, "malformed_row", str(error), "line")
            continue
        if cells is None:
            break
        if len(cells) == len(header):
            fields = dict(zip(header, cells))
            yield Line(file.corpus, file.file, rows.line_num, file.images, fields)
        elif cells:
            detail = f"{len(cells)} cells under a header of {len(header)}"
            yield Reject(file.file, rows.line_num, "malformed_row", detail, "line")
    yield from bad


def _text(file: Input, text_split: str) -> Iterator[Line | Reject]:
    bad: list[Reject] = []
    rows = [line.rstrip("\r\n") for line in _decoded(file, bad)]
    yield from bad
    for start, stop in TEXT_SPLITS[text_split](rows):
        text = "\n".join(rows[start:stop])
        if text.strip():
            yield Line(file.corpus, file.file, start + 1, file.images, text)


def _by_auto(rows: list[str]) -> list[tuple[int, int]]:
    """Articles where there are headings, otherwise passages."""
    headed = any(_HEADING.match(row) for row in rows)
    return _by_heading(rows) if headed else _by_passage(rows)


def _by_file(rows: list[str]) -> list[tuple[int, int]]:
    return [(0, len(rows))]


def _by_heading(rows: list[str]) -> list[tuple[int, int]]:
    starts = [i for i, row in enumerate(rows) if _HEADING.match(row)]
    return _ranges([0, *starts], len(rows))


def _by_blank_line(rows: list[str]) -> list[tuple[int, int]]:
    before = [True, *(not row.strip() for row in rows)]
    starts = [i for i, row in enumerate(rows) if row.strip() and before[i]]
    return _ranges(starts, len(rows))


def _by_passage(rows: list[str]) -> list[tuple[int, int]]:
    """Paragraphs that follow each other, until they are PASSAGE characters."""
    starts, length = [], PASSAGE
    for start, stop in _by_blank_line(rows):
        if length >= PASSAGE:
            starts.append(start)
            length = 0
        length += sum(len(row) + 1 for row in rows[start:stop])
    return _ranges(starts, len(rows))


def _ranges(starts: list[int], end: int) -> list[tuple[int, int]]:
    return list(zip(starts, [*starts[1:], end]))


TEXT_SPLITS: dict[str, Callable[[list[str]], list[tuple[int, int]]]] = {
    "auto": _by_auto,
    "file": _by_file,
    "heading": _by_heading,
    "blank_line": _by_blank_line,
    "passage": _by_passage,
}

"""Tars of samples, as webdataset has them: members that share a key, side by side.

    000000000.jpg  000000000.txt  000000000.json  000000001.jpg  ...

Read from front to back with one sample in memory. Names are keys, never paths.
"""

import json
import pathlib
import tarfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.formats.fields import Bad, Record
from data_pipelines.prepare.raw import Picture, Raw, Reject, Unit

SUFFIXES = (".tar",)
IMAGES = ("jpg", "png", "jpeg", "webp")
UNIT_BYTES = 2**28
MAX_MEMBER = 2**28  # bytes; no picture or caption is larger
_NEVER = ("mp4", "avi", "mkv", "webm", "mp3", "flac", "wav", "npy", "npz", "pth", "pt")


class Sample(NamedTuple):
    """The members of one key."""

    key: str
    members: dict[str, bytes]  # by what follows the key and a dot, in lower case
    problem: str = ""  # why it can't be used; empty: it can


class Place(NamedTuple):
    """A member of a tar, and where it begins."""

    offset: int  # of its header, in bytes
    key: str
    name: str  # what follows the key and a dot
    info: tarfile.TarInfo


Convert = Callable[[Record, Sample, Settings], Iterator[Raw | Reject]]


class _Torn(Exception):  # noqa: N818
    """A tar that can't be read on."""

    def __init__(self, offset: int, detail: str):
        super().__init__(offset, detail)
        self.offset = offset
        self.detail = detail


def units(
    path: pathlib.Path, folder: str, name: str, least_bytes: int = UNIT_BYTES
) -> Iterator[Unit]:
    """Runs of whole samples, of at least so many bytes; a small tar is one, unopened.

    Raises ValueError where the file isn't a tar at all.
    """
    size = path.stat().st_size
    if size < 2 * least_bytes:
        yield Unit(str(path), name, folder, 0, size, 1)
        return
    start, first, number, last = 0, 1, 0, None
    with path.open("rb") as file:
        try:
            for place in _places(file, 0, size):
                if place.key != last and place.offset - start >= least_bytes:
                    yield Unit(str(path), name, folder, start, place.offset, first)
                    start, first = place.offset, number + 1
                number += place.key != last
                last = place.key
        except _Torn:
            pass  # told by the reader of the last unit
    yield Unit(str(path), name, folder, start, size, first)


def read(unit: Unit, settings: Settings, convert: Convert) -> Iterator[Raw | Reject]:
    """What `convert` makes of the unit's samples; one that raises Bad is rejected.

    A tar that is cut off gives the samples before, and one reject with the byte offset.
    """
    number = unit.first
    try:
        for sample in samples(unit):
            record = Record(unit, number, {})
            number += 1
            try:
                if sample.problem:
                    raise Bad("malformed_sample", sample.problem)
                yield from convert(record, sample, settings)
            except Bad as bad:
                detail = f"key {sample.key}: {bad.detail}"
                yield Reject(unit.file, record.number, bad.reason, detail, "record")
    except _Torn as torn:
        detail = f"byte {torn.offset}: {torn.detail}"
        yield Reject(unit.file, number, "broken_file", detail, "rest of the file")


def samples(unit: Unit) -> Iterator[Sample]:
    """The unit's samples in order; raises _Torn where the tar ends too early.

    The sample in which it ends is lost, since members of it may be.
    """
    with open(unit.file, "rb") as file:
        sample = None
        for place in _places(file, unit.start, unit.stop):
            if sample is None or sample.key != place.key:
                if sample is not None:
                    yield sample
                sample = Sample(place.key, {})
            sample = _with(sample, place, file)
        if sample is not None:
            yield sample


def first(path: pathlib.Path) -> Sample | None:
    """The first sample; None where there is none, ValueError where this is no tar."""
    sample = None
    with path.open("rb") as file:
        try:
            for place in _places(file, 0, path.stat().st_size):
                if sample is not None and sample.key != place.key:
                    break
                sample = _with(sample or Sample(place.key, {}), place, file)
        except _Torn as torn:
            if sample is None:
                told = f"{path}: byte {torn.offset}: {torn.detail}"
                raise ValueError(told) from torn
    return sample


def picture(sample: Sample, settings: Settings) -> Picture | None:
    """The sample's picture; `image_key` may name several members, as "jpg;png"."""
    named = settings.image_key.lower().split(";") if settings.image_key else IMAGES
    data = next((sample.members[n] for n in named if sample.members.get(n)), b"")
    return Picture(data=data) if data else None


def parse(sample: Sample) -> Any:
    """What the sample's json holds; None where it has none. Raises Bad."""
    if "json" not in sample.members:
        return None
    try:
        return json.loads(text(sample, "json"))
    except (ValueError, RecursionError) as error:
        raise Bad("malformed_json", str(error)) from error


def text(sample: Sample, name: str) -> str:
    """The member of this name as text; raises Bad."""
    try:
        return sample.members[name].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Bad("not_utf8", f"{name}: {error}") from error


def _with(sample: Sample, place: Place, file: BinaryIO) -> Sample:
    """The sample with one more member, unless nothing here reads such ones."""
    if place.name.rpartition(".")[2] in _NEVER:
        return sample
    if place.name in sample.members:
        return sample._replace(problem=f"has {place.name} twice")
    if place.info.size > MAX_MEMBER:
        rule = f"{place.info.size} bytes, more than {MAX_MEMBER}"
        return sample._replace(problem=f"{place.name} of {rule}")
    file.seek(place.info.offset_data)
    data = file.read(place.info.size)
    if len(data) < place.info.size:
        rule = f"{len(data)} of {place.info.size} bytes of {place.info.name!r}"
        raise _Torn(place.offset, f"the tar is cut off: {rule}")
    return sample._replace(members={**sample.members, place.name: data})


def _places(file: BinaryIO, start: int, stop: int) -> Iterator[Place]:
    """Members of samples from byte `start` to `stop`; raises _Torn."""
    file.seek(start)
    offset = last = start
    try:
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115  (ours to close)
        info = tar.next()
        while info is not None:
            key, name = _split(info.name)
            if info.isfile() and not info.issparse() and key and name:
                yield Place(info.offset, key, name, info)
            tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  (grows)
            offset, last = tar.offset, info.offset
            info = tar.next() if offset < stop else None
        offset = tar.offset
    except tarfile.TarError as error:
        raise _Torn(offset, f"not a whole tar: {error}") from error
    if offset > stop:
        raise _Torn(last, "the tar is cut off in this member")
    if offset < stop:
        _check_end(file, offset)


def _check_end(file: BinaryIO, offset: int) -> None:
    """Raises _Torn where more than zeros follow, which tarfile doesn't tell."""
    file.seek(offset)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise _Torn(offset, "no header of a member")
    while block := file.read(2**20):
        if block.count(0) < len(block):
            rule = "more follows, as where tars were joined by cat"
            raise _Torn(offset, f"the tar ends here, but {rule}")


def _split(name: str) -> tuple[str, str]:
    """Key and the rest of a member's name, cut at the first dot of its last part."""
    folder, slash, base = name.rpartition("/")
    if "/.nv-meta/" in f"/{folder}/" or "/__MACOSX/" in f"/{folder}/":
        return "", ""
    stem, _, rest = base.partition(".")
    return (f"{folder}{slash}{stem}", rest.lower()) if stem else ("", "")

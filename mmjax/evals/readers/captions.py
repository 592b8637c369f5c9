"""Captions: COCO (official, Karpathy's, LAVIS), NoCaps, TextCaps, lists of images."""

import collections
import pathlib
from collections.abc import Iterator

from mmjax.evals.example import Example
from mmjax.evals.readers import files


def coco(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """COCO's and NoCaps' `images` and `annotations`, which may be kept secret."""
    [path] = paths
    content = files.load(path)
    captions: dict[object, list[str]] = collections.defaultdict(list)
    annotations = content.get("annotations", []) if isinstance(content, dict) else []

    def note(record: files.Record) -> list[Example]:
        captions[record["image_id"]].append(record["caption"])
        return []

    for _ in files.examples(path, annotations, note):
        pass

    def make(record: files.Record) -> Example:
        facts = {"image_id": record["id"]}
        if "domain" in record:
            facts["group"] = record["domain"]
        return Example(
            str(record["id"]),
            (picture.format(record["file_name"]),),
            references=tuple(captions[record["id"]]),
            facts=facts,
        )

    yield from files.examples(path, files.field(content, "images", path), make)


def karpathy(
    paths: list[pathlib.Path], picture: str, splits: tuple[str, ...]
) -> Iterator[Example]:
    """Karpathy's dataset_coco.json: images of the named splits."""
    [path] = paths

    def make(record: files.Record) -> list[Example]:
        if record["split"] not in splits:
            return []
        name = f"{record.get('filepath', '')}/{record['filename']}".lstrip("/")
        key = record.get("cocoid", record.get("imgid"))
        said = tuple(sentence["raw"] for sentence in record["sentences"])
        facts = {"image_id": key}
        shown = (picture.format(name),)
        return [Example(str(key), shown, references=said, facts=facts)]

    yield from files.examples(path, files.field(files.load(path), "images", path), make)


def lines(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """`{"image", "captions"}` a record; LAVIS calls the captions `caption`."""
    [path] = paths

    def make(record: files.Record) -> Example:
        said = record["captions"] if "captions" in record else record["caption"]
        said = (said,) if isinstance(said, str) else tuple(said)
        name = record["image"]
        facts = {"image_id": record.get("image_id", _number(name))}
        shown = (picture.format(name),)
        return Example(name, shown, references=said, facts=facts)

    yield from files.examples(path, files.rows(path), make)


def textcaps(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """TextCaps' `data`, which names an image once for each of its captions."""
    [path] = paths
    seen: set[str] = set()

    def make(record: files.Record) -> list[Example]:
        key = record["image_id"]
        if key in seen:
            return []
        seen.add(key)
        said = tuple(record.get("reference_strs") or ())
        facts = {"image_id": key}
        return [Example(key, (picture.format(key),), references=said, facts=facts)]

    yield from files.examples(path, files.field(files.load(path), "data", path), make)


def _number(name: str) -> int | str:
    """COCO's number in the name of its file; other names stay."""
    digits = pathlib.PurePath(name).stem.rsplit("_", 1)[-1]
    return int(digits) if digits.isdigit() else pathlib.PurePath(name).stem

"""RefCOCO, RefCOCO+ and RefCOCOg: an expression and the box of what it means.

Three shapes are read: MDETR's COCO-like JSON, lines with corners (Qwen, Shikra), and
the parquet of lmms-eval. Boxes become shares of width and height: left, top, right,
bottom.
"""

import io
import pathlib
from collections.abc import Iterator, Sequence

from mmjax.evals.example import Example
from mmjax.evals.readers import files


def read(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """The examples of one split."""
    for path in paths:
        if path.suffix == ".parquet":
            yield from files.examples(path, files.rows(path), _parquet)
        elif ".jsonl" in path.name:
            records = enumerate(files.rows(path))
            yield from files.examples(path, records, lambda item: _line(item, picture))
        else:
            yield from _coco_like(path, picture)


def _coco_like(path: pathlib.Path, picture: str) -> Iterator[Example]:
    """MDETR's: an image for each expression, a box for each image."""
    content = files.load(path)
    boxes: dict[int, Sequence[float]] = {}

    def note(record: files.Record) -> list[Example]:
        boxes[record["image_id"]] = record["bbox"]
        return []

    for _ in files.examples(path, files.field(content, "annotations", path), note):
        pass

    def make(record: files.Record) -> Example:
        box = _corners(boxes[record["id"]])
        size = record["width"], record["height"]
        shown = picture.format(record["file_name"])
        return _example(str(record["id"]), shown, record["caption"], box, size)

    yield from files.examples(path, files.field(content, "images", path), make)


def _line(item: tuple[int, files.Record], picture: str) -> Example:
    """`{img_path, expression, bbox: corners, height, width}`; Qwen: image, sent."""
    number, record = item
    image = record["img_path"] if "img_path" in record else record["image"]
    said = record["expression"] if "expression" in record else record["sent"]
    size = record["width"], record["height"]
    shown = picture.format(image)
    return _example(str(number), shown, said, record["bbox"], size)


def _parquet(record: files.Record) -> list[Example]:
    """A record of lmms-eval: several expressions of one box [x, y, width, height]."""
    from PIL import Image

    content = record["image"]["bytes"]
    with Image.open(io.BytesIO(content)) as image:
        size = image.size
    box = _corners(record["bbox"])
    return [
        _example(f"{record['question_id']}/{i}", content, said, box, size)
        for i, said in enumerate(record["answer"])
    ]


def _example(
    key: str,
    image: str | bytes,
    said: str,
    box: Sequence[float],
    size: tuple[int, int],
) -> Example:
    """`box` are corners in pixels, `size` width and height."""
    left, top, right, bottom = box
    width, height = size
    if not (left < right and top < bottom):
        raise ValueError(f"box {list(box)} has no area")
    shares = (left / width, top / height, right / width, bottom / height)
    return Example(key, (image,), said, facts={"box": shares})


def _corners(box: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, width, height = box
    return left, top, left + width, top + height

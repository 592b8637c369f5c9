"""Questions to be answered by yes or no, or by true or false: POPE, MME, VSR."""

import pathlib
from collections.abc import Iterator

from mmjax.evals.example import Example
from mmjax.evals.readers import files

_PICTURES = (".jpg", ".jpeg", ".png", ".JPG", ".PNG")


def pope(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """POPE's lines of question and label."""
    [path] = paths

    def make(record: files.Record) -> Example:
        if record["label"] not in ("yes", "no"):
            raise ValueError(f"label {record['label']!r} is neither yes nor no")
        return Example(
            str(record["question_id"]),
            (picture.format(record["image"]),),
            record["text"],
            references=(record["label"],),
            facts={"question_id": record["question_id"]},
        )

    yield from files.examples(path, files.rows(path), make)


def vsr(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """VSR's lines: a caption, whether it is true of the image, and the relation.

    They carry no id: it is the line's number.
    """
    [path] = paths
    records = enumerate(files.rows(path))

    def make(item: tuple[int, files.Record]) -> Example:
        number, record = item
        if record["label"] not in (0, 1):
            raise ValueError(f"label {record['label']!r} is neither 0 nor 1")
        return Example(
            str(number),
            (picture.format(record["image"]),),
            record["caption"],
            references=("yes" if record["label"] else "no",),
            facts={"group": record["relation"]},
        )

    yield from files.examples(path, records, make)


def mme(paths: list[pathlib.Path], picture: str) -> Iterator[Example]:
    """MME's text files, two lines of question and answer each, beside their images.

    `picture` is not used: an image lies beside its text, or in the folder `images`
    where the texts lie in `questions_answers_YN`. Its path is absolute.
    """
    del picture
    for path in paths:
        folder = path.parent
        apart = folder.name == "questions_answers_YN"
        subtask = folder.parent.name if apart else folder.name
        pictures = folder.parent / "images" if apart else folder
        image = _image(pictures, path.stem)
        lines = [line for line in files.text(path).splitlines() if line.strip()]

        def make(item: tuple[int, str], subtask=subtask, image=image) -> Example:
            number, line = item
            question, answer = line.split("\t")
            return Example(
                f"{subtask}/{image.stem}/{number}",
                (str(image.absolute()),),
                question,
                references=(answer.strip(),),
                facts={"subtask": subtask, "image": image.stem},
            )

        yield from files.examples(path, enumerate(lines), make)


def _image(folder: pathlib.Path, stem: str) -> pathlib.Path:
    for suffix in _PICTURES:
        if (folder / (stem + suffix)).is_file():
            return folder / (stem + suffix)
    raise ValueError(f"MME: put the image {stem}.jpg (or .png) into {folder}")

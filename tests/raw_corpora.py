"""Small raw corpora, and what tests do with their preparation."""

import hashlib
import io
import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import PIL.Image
import programs

from data_pipelines.prepare import corpus, telling
from data_pipelines.prepare.formats import inputs as inputs_lib
from data_pipelines.prepare.formats.base import Input

ROOT = pathlib.Path(__file__).parent.parent
WORDS = ["the", "river", "of", "wide", "stones", "and", "a", "cold", "wind", "that"]


def noise(seed: int, width: int = 120, height: int = 110) -> bytes:
    """A JPEG that looks like no other one's."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)
    picture = PIL.Image.fromarray(coarse).resize((width, height))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92)
    return file.getvalue()


def prose(seed: int, words: int = 80) -> str:
    """English-like text that near-duplicate removal keeps apart from others."""
    rng = np.random.default_rng(seed)
    made = [f"{rng.choice(WORDS)} {_word(rng)}" for _ in range(words // 2)]
    return " ".join(made).capitalize() + "."


def _word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list("aeioulnrst"), int(rng.integers(3, 8))))


def write(folder: pathlib.Path, pages: int = 13) -> dict[str, list[str]]:
    """Corpora with something bad in each; the files of each corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(pages - 1):
        (folder / f"{number}.jpg").write_bytes(noise(number))
    rows = [
        {"image": f"{n}.jpg", "captions": [f"a cold river {n}", f"a wide hill {n}"]}
        for n in range(pages + 1)
    ]
    captions = [json.dumps(row) for row in rows]
    (folder / "c.jsonl").write_text("\n".join([*captions, "{bad"]))
    told = [
        {"texts": [f"{prose(n)} {n}", None], "images": [None, f"{n}.jpg"]}
        for n in range(pages)
    ]
    (folder / "i.jsonl").write_text("\n".join(map(json.dumps, told)))
    (folder / "t.txt").write_bytes(b"one\n\ntwo\n\ncaf\xe9\n\none\n")
    files = {"captions": "c.jsonl", "interleaved": "i.jsonl", "text": "t.txt"}
    return {name: [str(folder / file)] for name, file in files.items()}


def inputs(files: dict[str, list[str]]) -> dict[str, list[Input]]:
    """The files, with their formats."""
    return {name: inputs_lib.expand(given, "", name) for name, given in files.items()}


def request(files: dict[str, list[str]], output, **changes) -> corpus.Request:
    """A request for a small tokenizer."""
    return corpus.Request(inputs(files), str(output), vocab_size=320)._replace(
        **changes
    )


def quiet(_: str) -> None:
    """Says nothing."""


def digests(folder: pathlib.Path) -> dict[str, str]:
    """A digest of every file below the folder, by its path in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def listed(folder: pathlib.Path) -> list[dict]:
    """The rejects of a finished preparation."""
    lines = (folder / telling.REJECTS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def command(files: dict[str, list[str]], output: pathlib.Path, *more: str) -> list[str]:
    """The command line that prepares the files."""
    given = [f"--{name}={path}" for name, paths in files.items() for path in paths]
    program = [sys.executable, "-m", "data_pipelines.prepare"]
    return [*program, *given, f"--output={output}", "--vocab_size=320", *more]


def run(arguments: Sequence[str], **options) -> subprocess.CompletedProcess[str]:
    """Runs a command line from the root of the repository."""
    return subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=programs.environment(),
        **options,
    )

"""What goes wrong is one clear line each; nothing half-written, nothing lost."""

import collections
import gzip
import json
import os
import pathlib
import resource
import struct
import subprocess
import time
import zlib

import programs
import pytest
import raw_corpora

from data_pipelines import shards
from data_pipelines.prepare import corpus
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.recipe import SPLITS, Recipe
from data_pipelines.shard_reader import ShardReader

pytest.importorskip("apache_beam")
pytestmark = pytest.mark.extra


def _one_line(done, words: str) -> None:
    """The program has ended with one error, told in one line."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    errors = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
    assert done.stderr.splitlines()[-1:] == errors
    assert words in errors[0]


def _png(width: int, height: int) -> bytes:
    """A small file that is a whole white image of any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    packer, row = zlib.compressobj(), b"\0" + b"\xff" * (-(-width // 8))
    rows = b"".join(packer.compress(row * 100) for _ in range(height // 100))
    return b"".join((
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        chunk(b"IDAT", rows + packer.flush()),
        chunk(b"IEND", b""),
    ))  # fmt: skip


LONG = "A line of a long story that goes on and on.\n" * (10 * 2**20 // 44)
BAD_IMAGES = {
    "huge.png": _png(40_000, 40_000),
    "bomb.png": _png(20_000, 8_000),
    "empty.jpg": b"",
    "text.jpg": b"this is no image",
}


def _write_captions(folder: pathlib.Path) -> pathlib.Path:
    """100 good images, then 5 damaged ones, then everything else that is bad."""
    rows = []
    for number in range(105):
        data = raw_corpora.noise(number, 32, 32)
        damaged = data[: len(data) // 2] if number % 2 else b"\xff\xd8" + data[90:]
        (folder / f"{number}.jpg").write_bytes(data if number < 100 else damaged)
        rows.append({"image": f"{number}.jpg", "caption": f"picture {number}"})
    for name, data in BAD_IMAGES.items():
        (folder / name).write_bytes(data)
        rows.append({"image": name, "caption": name})
    (folder.parent / "secret.jpg").write_bytes(raw_corpora.noise(1))
    (folder / "link.jpg").symlink_to(folder.parent / "secret.jpg")
    for name in ("../secret.jpg", "link.jpg", str(folder.parent / "secret.jpg")):
        rows.append({"image": name, "caption": "secret"})
    lines = [json.dumps(row).encode() for row in rows]
    lines += [b'{"image": "1.jpg", "caption": "\xff\xfe"}', b'{"image": "1.jpg", "cap']
    path = folder / "c.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def test_every_fault_of_the_input_is_told_and_costs_only_itself(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    captions = _write_captions(folder)
    pages = folder / "i.jsonl"
    rows = [{"texts": ["no image at all"], "images": [None]},
            {"texts": ["a", None, "b"], "images": [None, "huge.png", None]},
            {"texts": [], "images": []}]  # fmt: skip
    pages.write_text("\n".join(map(json.dumps, rows)))
    texts = [folder / "t.jsonl.gz", folder / "long.txt"]
    lines = [json.dumps({"text": raw_corpora.prose(n)}) for n in range(400)]
    whole = gzip.compress("\n".join([*lines, '{"text": " "}']).encode())
    texts[0].write_bytes(whole[: len(whole) // 2])
    texts[1].write_text(LONG)
    (folder / "e.jsonl").write_text('{"text": " "}\n{"text": "one"}\n')
    files = {"captions": [str(captions)], "interleaved": [str(pages)],
             "text": [str(p) for p in (*texts, folder / "e.jsonl")]}  # fmt: skip
    recipe = Recipe(Settings(text_split="file"), heldout=0.2)
    request = raw_corpora.request(files, tmp_path / "out", recipe=recipe)
    corpus.prepare(request, raw_corpora.quiet)
    found = raw_corpora.listed(tmp_path / "out")
    counts = collections.Counter(
        (pathlib.Path(r["file"]).name, r["reason"], r["lost"]) for r in found
    )
    assert counts == {
        ("c.jsonl", "unreadable_image", "record"): 7,
        ("c.jsonl", "image_too_large", "record"): 2,
        ("c.jsonl", "image_outside_folder", "record"): 3,
        ("c.jsonl", "not_utf8", "record"): 1,
        ("c.jsonl", "malformed_json", "record"): 1,
        ("i.jsonl", "image_too_large", "image"): 1,
        ("i.jsonl", "empty_text", "record"): 1,
        ("t.jsonl.gz", "broken_file", "rest of the file"): 1,
        ("e.jsonl", "empty_text", "record"): 1,
    }
    written = {
        name: [ShardReader(tmp_path / "out" / name / s) for s in SPLITS]
        for name in files
    }
    count = {name: sum(map(len, readers)) for name, readers in written.items()}
    assert count["captions"] == 100
    assert count["interleaved"] == 2
    long = [
        document
        for reader in written["text"]
        for document in map(reader.document, range(len(reader)))
        if len(document.segments[0].text) > 10**6
    ]
    assert [d.segments[0].text for d in long] == [LONG.rstrip("\n")]
    assert count["text"] > 100


@pytest.fixture
def files(tmp_path):
    return raw_corpora.write(tmp_path / "raw")


def _run(files, output, *more, **options):
    return raw_corpora.run(raw_corpora.command(files, output, *more), **options)


MISTAKES = [
    (("--runner=SparkleRunner",), "--runner=SparkleRunner: must be one of DirectRun"),
    (("--beam=--regoin=x",), "--beam: Beam doesn't know regoin"),
    (("--beam=--num_workers=many",), "invalid int value: 'many'"),
    (("--decontaminate=quiz=absent.jsonl",), "absent.jsonl: No such file"),
    (("--decontaminate=quiz",), "--decontaminate=quiz: must be NAME=PATH"),
    (("--missing_image=error",), "c.jsonl: record 13: missing_image"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "words"), MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(files, tmp_path, flags, words):
    output = tmp_path / "out"
    _one_line(_run(files, output, *flags), words)
    assert not output.exists()
    left = tmp_path / "out.unfinished"
    assert "error" in flags[0] or not left.exists()


def test_an_evaluation_set_that_cant_be_read_is_told(files, tmp_path):
    bad = tmp_path / "quiz.jsonl"
    bad.write_text("{")
    request = raw_corpora.request(
        files, tmp_path / "out", evaluations={"quiz": [str(bad)]}
    )
    with pytest.raises(ValueError, match=r"evaluation set .*quiz.jsonl: "):
        corpus.prepare(request, raw_corpora.quiet)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux")
def test_where_nobody_can_write_nothing_is_read(files):
    """Also as root."""
    request = raw_corpora.request(files, "/proc/mmjax")
    with pytest.raises(ValueError, match=r"--output=/proc/mmjax: can't be written"):
        corpus.prepare(request, raw_corpora.quiet)


def _limited():
    """Files end at 60 kB: writes fail, as on a full disk, here and in workers."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_is_full_stops_it_in_a_line_and_loses_nothing(
    files, tmp_path, workers
):
    more = (f"--workers={workers}", "--shards=1")
    output = tmp_path / "out"
    done = _run(files, output, *more, preexec_fn=_limited)
    _one_line(done, "preparation stopped: ")
    assert "File too large" in done.stderr
    assert "the same command goes on from here" in done.stderr
    assert not output.exists()
    assert _run(files, output, *more).returncode == 0
    assert _run(files, tmp_path / "whole", *more).returncode == 0
    assert raw_corpora.digests(output) == raw_corpora.digests(tmp_path / "whole")


@pytest.mark.slow
def test_two_preparations_at_once_do_not_meet(files, tmp_path):
    output = tmp_path / "out"
    first = subprocess.Popen(
        raw_corpora.command(files, output), cwd=raw_corpora.ROOT,
        env=programs.environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    home = tmp_path / "out.unfinished"
    while first.poll() is None and not (home / "preparation.json").exists():
        time.sleep(0.01)
    first.send_signal(19)  # SIGSTOP: it holds its lock, and gets no further
    try:
        _one_line(_run(files, output), "another preparation is writing it")
    finally:
        first.send_signal(18)  # SIGCONT
    assert first.wait() == 0
    assert (output / "text" / "train" / shards.MANIFEST).exists()


CHANGES = {
    "input": lambda files: os.utime(files["text"][0], ns=(5, 5)),
    "filters or sizes": {"recipe": Recipe(heldout=0.5)},
    "number of shards": {"shards": 3},
    "tokenizer": {"vocab_size": 321},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_another_input_or_option_does_not_go_on_with_what_is_there(
    files, tmp_path, monkeypatch, changed
):
    request = raw_corpora.request(files, tmp_path / "out")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(corpus.tokenizer, "train", full)
    with pytest.raises(ValueError, match="preparation stopped"):
        corpus.prepare(request, raw_corpora.quiet)
    monkeypatch.undo()
    before = raw_corpora.digests(tmp_path / "out.unfinished")
    change = CHANGES[changed]
    if isinstance(change, dict):
        request = request._replace(**change)
    else:
        change(files)
    with pytest.raises(ValueError, match=f"preparation with other {changed};"):
        corpus.prepare(request, raw_corpora.quiet)
    assert raw_corpora.digests(tmp_path / "out.unfinished") == before

"""A preparation that is killed and repeated writes what an undisturbed one does."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import time

import programs
import pytest
import raw_corpora

pytest.importorskip("apache_beam")
pytestmark = pytest.mark.extra

ALL = ("--all_filters", "--workers=2")
# What is there when a stage has begun, or has begun to write: it is killed then.
MARKS = (
    "units.json",
    "parts/*.facts.json",
    "parts/drops.msgpack",
    "parts/*.array_record.json",
    "result/tokenizer.model",
)


def _start(command):
    return subprocess.Popen(
        command, cwd=raw_corpora.ROOT, env=programs.environment(),
        start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _kill_at(command, home: pathlib.Path, mark: str, after: float = 0.0) -> bool:
    """Kills all of its processes, seconds after a mark; whether it was at work."""
    running = _start(command)
    while running.poll() is None and not list(home.glob(mark)):
        time.sleep(0.01)
    time.sleep(after)
    at_work = running.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    return at_work


def _whole(command) -> float:
    start = time.monotonic()
    done = raw_corpora.run(command)
    assert done.returncode == 0, done.stderr[-2000:]
    return time.monotonic() - start


@pytest.fixture
def files(tmp_path):
    """Several files of each corpus, so that there are several units."""
    found = {}
    for number in range(3):
        for name, paths in raw_corpora.write(tmp_path / "raw" / str(number), 9).items():
            found.setdefault(name, []).extend(paths)
    return found


def test_killed_in_two_stages(files, tmp_path):
    flags = ("--near_duplicates", "--page_rules", "--shards=2", "--heldout=0.3")
    _whole(raw_corpora.command(files, tmp_path / "whole", *flags))
    output = tmp_path / "out"
    command = raw_corpora.command(files, output, *flags)
    kills = [_kill_at(command, tmp_path / "out.unfinished", m) for m in MARKS[1::2]]
    assert kills == [True, True]
    assert not output.exists()
    done = {
        p: p.stat().st_mtime_ns for p in tmp_path.glob("out.unfinished/parts/*.traits")
    }
    assert done
    _whole(command)
    assert raw_corpora.digests(output) == raw_corpora.digests(tmp_path / "whole")


@pytest.mark.slow
def test_real_corpora_whole_killed_at_random_five_times(real_data, tmp_path):
    photos, pages = real_data / "captions/flickr8k_1000", real_data / "interleaved"
    files = {
        "captions": [str(photos / "captions.jsonl")],
        "interleaved": [str(pages / "docs.jsonl")],
        "text": [str(real_data / "text" / "*.txt")],
    }
    sets = {"pope": "vqa/pope_coco_random.jsonl.gz",
            "arc": "text_qa/arc_easy_test_500.jsonl"}  # fmt: skip
    held = [f"--decontaminate={n}={real_data / path}" for n, path in sets.items()]
    flags = (*ALL, "--languages=en", "--vocab_size=2000", "--shards=3", *held)
    took = _whole(raw_corpora.command(files, tmp_path / "whole", *flags))
    output, rng = tmp_path / "out", random.Random(0)
    command = raw_corpora.command(files, output, *flags)
    kills = 0
    for mark in MARKS:
        delay = rng.uniform(0, 0.05 * took)
        kills += _kill_at(command, tmp_path / "out.unfinished", mark, delay)
    assert kills >= 4  # behind the last mark it may have ended by itself
    if not output.exists():
        _whole(command)
    assert raw_corpora.digests(output) == raw_corpora.digests(tmp_path / "whole")
    assert not output.with_name("out.unfinished").exists()

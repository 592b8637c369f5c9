"""Storage that doesn't answer is one clear error; what answers passes through.

A FIFO that nobody writes to blocks whoever opens it, as a dead mount does.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time

import pytest

from data_pipelines import deadline, pipeline, shard_files


@pytest.fixture
def copy(world, tmp_path):
    return world._replace(root=str(shutil.copytree(world.root, tmp_path / "copy")))


@pytest.fixture
def block():
    """Puts FIFOs in place of files; who waits for them is let go in the end."""
    made = []

    def put(path):
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        made.append(path)

    yield put
    for path in made:
        with contextlib.suppress(OSError):  # nobody waits
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def test_values_and_errors_pass_through():
    assert deadline.within(1, lambda: 7) == 7

    def fails():
        with deadline.opening("x"):
            raise ValueError("x: broken")

    with pytest.raises(ValueError, match="x: broken"):
        deadline.within(1, fails)
    with deadline.opening("x"):
        pass  # outside of a deadline it does nothing


def test_only_a_single_opening_has_the_time_not_all_together():
    def slow():
        for path in "abcdef":
            with deadline.opening(path):
                time.sleep(0.1)
        time.sleep(0.5)  # what is no opening may take as long as it likes
        return "done"

    assert deadline.within(0.3, slow) == "done"


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer.model",
        "interleaved/train/manifest.json",
        "captions/train/shard-00001-of-00003.index-*.npz",
    ],
)
def test_a_file_that_blocks_is_named_with_the_rule(copy, tmp_path, block, name):
    (path,) = (tmp_path / "copy").glob(name)
    block(path)
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"data\.open_timeout") as error:
        pipeline.open(copy.config(open_timeout=0.4))
    assert 0.4 <= time.monotonic() - began < 5
    assert str(error.value) == (
        f"{path}: not opened after 0.4 seconds (data.open_timeout); is the storage "
        "there?"
    )


def test_a_shard_that_array_record_waits_for_is_named(tmp_path, block):
    path = tmp_path / "shard"
    block(path)

    def touch():
        with deadline.opening(path):
            shard_files.open_shard(path)

    with pytest.raises(ValueError, match=f"{path}: not opened after 0.2 seconds"):
        deadline.within(0.2, touch)


def test_a_program_ends_though_its_storage_never_answers(tmp_path, block):
    path = tmp_path / "shard"
    block(path)
    program = (
        "import sys\n"
        "from data_pipelines import deadline, shard_files\n"
        "def touch():\n"
        "    with deadline.opening(sys.argv[1]):\n"
        "        shard_files.open_shard(sys.argv[1])\n"
        "try:\n"
        "    deadline.within(0.2, touch)\n"
        "except ValueError as error:\n"
        "    sys.exit(str(error))\n"
    )
    root = os.path.dirname(os.path.dirname(deadline.__file__))
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True, text=True, timeout=30, cwd=root,
    )  # fmt: skip
    assert done.returncode == 1
    assert "not opened after 0.2 seconds" in done.stderr.splitlines()[-1]

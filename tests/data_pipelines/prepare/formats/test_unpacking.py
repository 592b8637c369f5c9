"""Compressed files are read as what they hold, and a cut one is noticed."""

import gzip
import random

import pytest
import zstandard

from data_pipelines.prepare.formats import unpacking

PACKERS = {".gz": gzip.compress, ".zst": zstandard.compress}
DATA = random.Random(0).randbytes(300_000) + b"line\n" * 500_000


@pytest.mark.parametrize("suffix", PACKERS)
def test_members_and_frames_follow_each_other(tmp_path, suffix):
    pack = PACKERS[suffix]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pack(DATA) + pack(b"") + pack(b"end"))
    with unpacking.open_bytes(path) as file:
        assert file.read() == DATA + b"end"


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("kept", [0.3, 0.999])
def test_a_file_that_is_cut_off_is_broken(tmp_path, suffix, kept):
    packed = PACKERS[suffix](DATA)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(packed[: int(kept * len(packed))])
    with pytest.raises(unpacking.Broken), unpacking.open_bytes(path) as file:
        file.read()


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_file_of_another_kind_is_broken(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b'{"text": "not packed"}\n')
    with pytest.raises(unpacking.Broken), unpacking.open_bytes(path) as file:
        file.read()


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_file_that_is_cut_off_gives_the_lines_before(tmp_path, suffix):
    rng = random.Random(0)
    lines = [b"%d %d\n" % (n, rng.getrandbits(200)) for n in range(9000)]
    packed = PACKERS[suffix](b"".join(lines))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(packed[: len(packed) // 2])
    found: list[bytes] = []
    with pytest.raises(unpacking.Broken), unpacking.open_bytes(path) as file:
        found.extend(iter(file.readline, b""))
    assert found == lines[: len(found)]
    assert len(found) > 2000

"""Every line is in exactly one range, under the number that it has in the file."""

import gzip
import itertools
import pathlib
import tempfile

import hypothesis
from hypothesis import strategies

from data_pipelines.prepare.formats import lines
from data_pipelines.prepare.formats.lines import Line
from data_pipelines.prepare.raw import Reject, Unit


def _units(path, size):
    return [
        Unit(str(path), "text", "", start, stop, first)
        for start, stop, first in lines.ranges(path, size)
    ]


def _read(path, size):
    return [line for unit in _units(path, size) for line in lines.read(unit)]


TEXTS = strategies.lists(
    strategies.sampled_from([b"", b"a", b"a longer line", b"\r", b"\xff\xfe"])
)


@hypothesis.given(TEXTS, strategies.booleans(), strategies.integers(1, 40))
def test_any_division_gives_the_same_lines(texts, ended, size):
    data = b"\n".join(texts) + b"\n" * ended
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "a")
        path.write_bytes(data)
        found = _read(path, size)
        stops = [(unit.start, unit.stop) for unit in _units(path, size)]
    *whole, rest = data.split(b"\n")
    expected = [line + b"\n" for line in whole] + [rest] * bool(rest)
    assert [line.data for line in found] == expected
    assert [line.number for line in found] == list(range(1, len(found) + 1))
    assert stops[0][0] == 0
    assert stops[-1][1] == len(data)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(stops))


def test_a_mark_of_byte_order_is_no_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf{}\n\xef\xbb\xbfx\n")
    assert [line.data for line in _read(path, 100)] == [b"{}\n", b"\xef\xbb\xbfx\n"]


def test_a_cut_file_gives_its_lines_and_a_reject(tmp_path):
    data = b"".join(b"line %d %d\n" % (n, n * n) for n in range(100_000))
    packed = gzip.compress(data)
    path = tmp_path / "a.txt.gz"
    path.write_bytes(packed[: len(packed) // 2])
    (unit,) = _units(path, 10)
    *whole, reject = lines.read(unit)
    assert len(whole) > 10_000
    assert all(isinstance(line, Line) for line in whole)
    assert b"".join(line.data for line in whole) == data[: len(whole[-1].data)
        + whole[-1].offset]  # fmt: skip
    assert isinstance(reject, Reject)
    assert (reject.reason, reject.lost) == ("broken_file", "rest of the file")
    assert reject.number == len(whole) + 1

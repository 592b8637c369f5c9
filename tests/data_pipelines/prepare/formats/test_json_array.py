"""Elements of arrays are those that json.load finds, whatever the blocks."""

import io
import json
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies

from data_pipelines.prepare.formats import json_array

VALUES = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats(allow_nan=False)
    | strategies.text(alphabet='ab"\\[]{},:\n\u00e9\u2028 '),
    lambda inner: (
        strategies.lists(inner, max_size=4)
        | strategies.dictionaries(strategies.text('a"\\[', max_size=2), inner)
    ),
    max_leaves=12,
)


class _Slow(io.BytesIO):
    """A file that gives a few bytes at a time."""

    step = 1

    def read(self, size=-1):
        return super().read(min(self.step, size) if size >= 0 else self.step)


def _parsed(data: bytes, step: int, member: str = ""):
    file = _Slow(data)
    file.step = step
    return [json.loads(e) for e in json_array.elements(file, member)]


@hypothesis.given(
    strategies.lists(VALUES, max_size=5),
    strategies.integers(1, 50),
    strategies.sampled_from([None, 1]),
    strategies.booleans(),
)
def test_an_array_gives_what_json_load_finds(values, step, indent, ascii_only):
    data = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()
    assert _parsed(data, step) == values


@hypothesis.given(
    strategies.dictionaries(strategies.sampled_from(["a", "b", "images", "info"]),
                            VALUES),
    strategies.lists(VALUES, max_size=4),
    strategies.integers(1, 50),
)  # fmt: skip
def test_a_member_gives_what_json_load_finds(before, images, step):
    values = {**before, "images": images, "after": [1, [2]]}
    assert _parsed(json.dumps(values).encode(), step, "images") == images


def test_what_python_writes_beyond_the_standard_is_read():
    values = [{"width": 10**40}, {"score": float("inf")}]
    assert _parsed(json.dumps(values).encode(), 100) == values


def test_a_bad_element_is_given_alone():
    data = b'[{"a": 1}, {"b": oh}, {"c": 3}, , "\xff"]'
    found = list(json_array.elements(io.BytesIO(data)))
    assert found == [b'{"a": 1}', b'{"b": oh}', b'{"c": 3}', b"", b'"\xff"']


@pytest.mark.parametrize(
    ("data", "member", "rule"),
    [
        (b'[{"a": 1}, {"a"', "", "ends inside of its array"),
        (b'[{"a": "never closed', "", "ends inside of its array"),
        (b'[{"a": 1}]\n[2]', "", "goes on behind its array"),
        (b'{"a": 1}', "", "doesn't hold its array"),
        (b'{"images": 1, "b": ["images"]}', "images", "doesn't hold the array"),
        (b'{"b": {"images": [1]}}', "images", "doesn't hold the array"),
        (b'{"b": 1}\n{"images": [1]}', "images", "doesn't hold the array"),
        (b"", "", "doesn't hold its array"),
    ],
)
def test_what_is_no_whole_array_is_an_error(data, member, rule):
    with pytest.raises(ValueError, match=rule):
        list(json_array.elements(io.BytesIO(data), member))


# A record is 10 KB, so that neither a file nor its list of records fits the limit.
_SCRIPT = """
import json, resource, sys
from data_pipelines.prepare.formats import json_array
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[1], "rb") as file:
    count = sum(len(json.loads(e)["text"]) for e in json_array.elements(file))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used
print(count, grown)
"""


def _grown(path, records: int) -> int:
    """KiB by which memory grows while an array of 10 KB records is read."""
    record = json.dumps({"text": 'x"[{' * 2500, "other": [1, {"a": 2}]})
    with path.open("w") as file:
        file.write("[" + record)
        for _ in range(records - 1):
            file.write(",\n" + record)
        file.write("]")
    command = [sys.executable, "-c", _SCRIPT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, grown = map(int, done.stdout.split())
    path.unlink()
    assert count == records * 10_000
    return grown


def test_memory_holds_one_element(tmp_path):
    assert _grown(tmp_path / "a.json", 2_500) < 12_000


@pytest.mark.slow
def test_memory_holds_one_element_of_200_megabytes(tmp_path):
    path = tmp_path / "a.json"
    assert _grown(path, 20_000) < 12_000


class _Counting(io.BytesIO):
    """A file that counts how often it is read."""

    reads = 0

    def read(self, size=-1):
        self.reads += 1
        return super().read(size)


def test_what_holds_no_such_array_is_not_read_to_its_end():
    for data in (b'[{"images": [1]},', b'{"a": 1}\n'):
        file = _Counting(data * 2**20)
        with pytest.raises(ValueError, match="doesn't hold the array 'images'"):
            next(json_array.elements(file, "images"))
        assert file.reads == 1


def test_a_long_element_is_not_searched_again_and_again():
    file = _Counting(json.dumps([{"text": "x" * 2**26}]).encode())
    (element,) = json_array.elements(file)
    assert len(element) > 2**26
    assert file.reads < 12  # what is held is searched once a read

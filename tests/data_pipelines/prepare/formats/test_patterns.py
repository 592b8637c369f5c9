"""Patterns stand for the names that a shell or webdataset would read in them."""

import subprocess

import pytest

from data_pipelines.prepare.formats import patterns


@pytest.mark.parametrize(
    "pattern",
    ["a.jsonl", "{00000..00012}.tar", "p-{a,b}/{8..11}.json", "{x,y{".replace("{", ""),
     "{1..3}{a,b}c", "{7..7}"],
)  # fmt: skip
def test_braces_are_those_of_the_shell(pattern):
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {pattern}"], capture_output=True, text=True
    )
    assert patterns.braces(pattern) == done.stdout.split()


def test_what_is_no_list_stays():
    assert patterns.braces("a{b}c{}") == ["a{b}c{}"]


def test_a_range_that_ends_before_it_begins_is_an_error():
    with pytest.raises(ValueError, match=r"x\{9..3\}: 9..3 ends before"):
        patterns.braces("x{9..3}")


def test_joined_patterns():
    assert patterns.split("a::b/{1..2}::c") == ["a", "b/{1..2}", "c"]
    assert patterns.split("a:b") == ["a:b"]
    with pytest.raises(ValueError, match="is empty"):
        patterns.split("a::")

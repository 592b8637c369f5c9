"""Words: the same whatever the case, spacing or machine; runs tell order apart."""

import hashlib
import os
import subprocess
import sys

import numpy as np

from data_pipelines.prepare import words


def test_case_punctuation_and_spacing_make_no_difference():
    plain = words.words("the cat s hat costs 5 000")
    assert words.words("The CAT's  hat\ncosts 5,000!") == plain
    assert words.words("\uff34he cat\u2019s hat costs 5,000\u2026") == plain
    assert words.words("Stra\u00dfe") == words.words("STRASSE")
    assert words.words(" ... \u3002") == []


def test_characters_are_words_where_no_spaces_are_put():
    assert words.words("\u72ac\u304c\u8d70\u308b") == list("\u72ac\u304c\u8d70\u308b")
    mixed = words.words("GPU\u3067\u52d5\u304f")
    assert mixed == ["gpu", "\u3067", "\u52d5", "\u304f"]


def test_marks_stay_with_their_letters():
    hindi = "\u0939\u093f\u0928\u094d\u0926\u0940"
    assert words.words(f"{hindi} {hindi}\u0964") == [hindi, hindi]


def test_runs_are_equal_exactly_where_words_are():
    listed = list("abcabcbac")
    hashed = words.hashes(listed)
    for length in (1, 2, 3, 9):
        runs = words.runs(hashed, length)
        tuples = [tuple(listed[i : i + length]) for i in range(len(listed) + 1)]
        tuples = [one for one in tuples if len(one) == length]
        assert len(runs) == len(tuples)
        for i, one in enumerate(tuples):
            same = [other == one for other in tuples]
            np.testing.assert_array_equal(runs == runs[i], same)
    assert len(words.runs(hashed, 10)) == 0


def test_no_two_of_many_runs_collide():
    listed = [str(number) for number in range(200_000)]
    assert len(np.unique(words.runs(words.hashes(listed), 5))) == 199_996


def test_hashes_are_those_of_every_machine_and_process():
    program = (
        "from data_pipelines.prepare import words;"
        "print(words.runs(words.hashes(['one', 'two', 'three']), 2).tolist())"
    )
    found = set()
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.add(done.stdout.strip())
    assert found == {str(_by_hand(["one", "two", "three"], 2))}


def _by_hand(listed, length):
    """The same arithmetic on Python's integers."""

    def mixed(x):
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    values = [
        int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest(), "little")
        for one in listed
    ]
    runs = []
    for start in range(len(values) - length + 1):
        total = 0
        for value in values[start : start + length]:
            total = (total * 0x9E3779B97F4A7C15 + value) % 2**64
        runs.append(mixed(total))
    return runs

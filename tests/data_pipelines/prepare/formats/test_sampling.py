"""Parts of a file: as Python's slices and percents say, and the same by any reader."""

import hashlib
import math

import format_files
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from data_pipelines.prepare.formats import json_records, registry, sampling
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.raw import Choice


def _wanted(text, total, seed=0):
    chosen = sampling.choice(sampling.parse(text, seed), total)
    return [n for n in range(1, total + 1) if sampling.wanted(n, chosen)]


def _count(text, total):
    """How many a strategy wants, as LLaVA-NeXT computes it in floats."""
    number = text.partition(":")[2]
    return math.ceil(int(number[:-1]) * total / 100) if "%" in number else int(number)


@pytest.mark.parametrize("total", [0, 1, 3, 10, 101])
@pytest.mark.parametrize(
    "amount", ["1", "3", "10", "3000", "1%", "5%", "50%", "99%", "100%"]
)
def test_first_and_end_are_pythons_slices_and_random_has_as_many(amount, total):
    numbers = list(range(1, total + 1))
    count = _count(f"first:{amount}", total)
    assert _wanted(f"first:{amount}", total) == numbers[:count]
    assert _wanted(f"end:{amount}", total) == (numbers[-count:] if count else [])
    assert len(_wanted(f"random:{amount}", total)) == min(count, total)
    assert _wanted("all", total) == numbers


def test_a_share_is_exact_and_may_have_decimals():
    assert len(_wanted("first:0.5%", 1000)) == 5
    assert 0.07 * 300 > 21  # in floats, where rounding up would give a 22nd record
    assert len(_wanted("random:7%", 300)) == 21


@hypothesis.given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 5))
def test_random_draws_exactly_as_many_and_the_seed_decides_which(total, count, seed):
    found = _wanted(f"random:{count}", total, seed)
    assert len(found) == min(total, count)
    assert found == _wanted(f"random:{count}", total, seed)
    fewer = _wanted(f"random:{max(1, count // 2)}", total, seed)
    assert set(fewer) <= set(found)


def test_seeds_draw_different_records_and_none_is_preferred():
    drawn = np.zeros(200)
    for seed in range(200):
        drawn[np.array(_wanted("random:50", 200, seed)) - 1] += 1
    assert drawn.sum() == 200 * 50
    # Each is drawn in a quarter of the seeds: 50, with a deviation of 6.1.
    assert np.abs(drawn - 50).max() < 5 * 6.2
    assert _wanted("random:50", 200, 0) != _wanted("random:50", 200, 1)


@pytest.mark.parametrize(
    "text",
    ["", "First:3", "first", "first:", "first:-3", "first:1.5", "end:3 ", "all:3",
     "first:3%%", "middle:3", "random:1e3"],
)  # fmt: skip
def test_another_spelling_is_an_error(text):
    with pytest.raises(ValueError, match="must be all, or first, end or random"):
        sampling.parse(text)


@pytest.mark.parametrize("text", ["first:0", "end:0%", "random:101%"])
def test_nothing_and_more_than_all_are_errors(text):
    with pytest.raises(ValueError, match="must be above 0, and up to 100%"):
        sampling.parse(text)


def test_a_list_of_places_is_left_out_and_may_not_change(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[0, 3, 99]")
    chosen = sampling.choice(sampling.ALL, 0, str(path))
    assert [n for n in range(1, 7) if sampling.wanted(n, chosen)] == [2, 3, 5, 6]
    assert chosen.digest == hashlib.sha256(b"[0, 3, 99]").hexdigest()
    path.write_text("[1]")
    other = sampling.choice(sampling.ALL, 0, str(path))
    assert other != chosen
    assert [n for n in range(1, 4) if sampling.wanted(n, other)] == [1, 3]
    path.write_text("[2]")
    sampling._places.cache_clear()
    with pytest.raises(ValueError, match=r"x.json: has changed since"):
        sampling.wanted(1, other)


@pytest.mark.parametrize("text", ["{}", '["a"]', "[true]", "[1.0]", "[", "7"])
def test_what_is_no_list_of_places_is_an_error(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"x.json: (must be a list|can't be read)"):
        sampling.choice(sampling.ALL, 0, str(path))


TURNS = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
RECORDS = [{"id": n, "conversations": TURNS} for n in range(1, 201)]


@pytest.mark.parametrize("text", ["first:7", "end:3%", "random:31"])
def test_any_division_of_a_file_gives_the_same_part(tmp_path, text):
    lines = format_files.as_lines(tmp_path / "a.jsonl", RECORDS)
    array = format_files.as_array(tmp_path / "a.json", RECORDS)
    assert json_records.count(lines) == json_records.count(array) == 200
    chosen = sampling.choice(sampling.parse(text), 200)
    expected = [n for n in range(1, 201) if sampling.wanted(n, chosen)]
    form = registry.FORMATS["llava"]
    for path in lines, array:
        for size in 300, 10**9:
            units = [
                unit._replace(choice=chosen)
                for unit in (
                    format_files.units(path, "llava", size)
                    if path is lines
                    else form.units(path, "")
                )
            ]
            raws = [raw for unit in units for raw in form.read(unit, Settings())]
            assert [raw.number for raw in raws] == expected


def test_a_record_that_is_not_wanted_is_not_even_parsed(tmp_path):
    path = format_files.as_lines(tmp_path / "a.jsonl", [RECORDS[0], b"{bad", b"{bad"])
    form = registry.FORMATS["llava"]
    (unit,) = form.units(path, "")
    found = list(form.read(unit._replace(choice=Choice(last=1)), Settings()))
    assert [one.number for one in found] == [1]

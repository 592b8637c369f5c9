"""Tests of the files of requests and changes: what is written is what is read."""

import json

import pytest

from mmjax import mixture_files
from mmjax.mixture_files import Request
from mmjax.schedule import Change


def test_requests_come_back_in_order_with_names_of_their_own(tmp_path):
    asked = [Request((60, 30, 10), 0), Request((1, 1, 1), 500), Request((1, 1, 1), 500)]
    names = [mixture_files.ask(tmp_path, request) for request in asked]
    lines = mixture_files.lines(tmp_path / mixture_files.REQUESTS)
    assert [mixture_files.parse(line) for line in lines] == asked
    assert [mixture_files.name(line) for line in lines] == names
    assert len(set(names)) == 3
    assert mixture_files.waiting(lines, {names[1]}) == [lines[0], lines[2]]


def test_a_line_that_was_cut_off_hides_nothing_after_it(tmp_path):
    path = tmp_path / mixture_files.CHANGES
    mixture_files.record(tmp_path, {"request": "a", "outcome": "refused"})
    with path.open("a") as file:
        file.write('{"request": "b", "out')
    assert len(mixture_files.lines(path)) == 1
    taken = {"request": "c", "outcome": "taken", "step": 7, "weights": [1, 2]}
    mixture_files.record(tmp_path, taken)
    records = mixture_files.outcomes(mixture_files.lines(path))
    assert [record["request"] for record in records] == ["a", "c"]
    assert mixture_files.taken(records) == [Change("c", 7, (1, 2))]
    assert mixture_files.lines(tmp_path / "missing") == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("weights 3", "not a JSON object"),
        ("[1, 2]", 'with "weights"'),
        ('{"weights": 3}', 'with "weights"'),
        ('{"weights": [1.5, 2]}', r"weights \[1.5, 2\]: must be integers"),
        ('{"weights": [true, 2]}', "must be integers"),
        ('{"weights": [1], "step": -4}', "step -4: must be a whole number"),
        ('{"weights": [1], "step": "x"}', "step 'x': must be a whole number"),
    ],
)
def test_a_line_that_is_no_request_says_why(line, problem):
    with pytest.raises(ValueError, match=problem):
        mixture_files.parse(line)


def test_a_line_written_by_hand_is_a_request():
    line = json.dumps({"weights": [3, 2]})
    assert mixture_files.parse(line) == Request((3, 2), 0)

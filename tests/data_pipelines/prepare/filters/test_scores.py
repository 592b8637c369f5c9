"""Conditions on scores: read once, plain about what they can't read."""

import math

import pytest

from data_pipelines.prepare.filters import scores
from data_pipelines.prepare.filters.scores import Condition


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("similarity>=0.28", Condition("similarity", ">=", 0.28)),
        (" punsafe < 1e-1 ", Condition("punsafe", "<", 0.1)),
        ("LANGUAGE==en", Condition("LANGUAGE", "==", "en")),
        ("NSFW != 'UNLIKELY'", Condition("NSFW", "!=", "UNLIKELY")),
        ('licence == "CC BY 4.0"', Condition("licence", "==", "CC BY 4.0")),
        ("grade=='5'", Condition("grade", "==", "5")),
        ("clip score<=-3", Condition("clip score", "<=", -3.0)),
    ],
)
def test_conditions_are_parsed_and_shown(text, condition):
    assert scores.parse(text) == condition
    if "'" not in text:
        assert scores.parse(str(condition)) == condition


@pytest.mark.parametrize(
    "text",
    ["", "similarity", ">=0.28", "similarity>=", "a=1", "a=>1", "a>=b", "a<1<2",
     "a>nan", "a == = b", "a !> 1"],
)  # fmt: skip
def test_what_is_no_condition_is_named(text):
    with pytest.raises(ValueError, match="condition") as caught:
        scores.parse(text)
    assert repr(text) in str(caught.value)


def _reason(found, *conditions, missing="keep"):
    problem = scores.problem(found, map(scores.parse, conditions), missing)
    return problem and problem.reason


@pytest.mark.parametrize(
    ("sign", "kept"),
    [(">=", "ee>"), ("<=", "ee<"), ("==", "ee"), ("!=", "<>"), (">", ">"), ("<", "<")],
)
def test_signs_mean_what_they_say(sign, kept):
    for value, where in ((0.1, "<"), (0.5, "e"), ("0.5", "e"), (0.9, ">")):
        expected = None if where in kept else "score_s"
        assert _reason({"s": value}, f"s{sign}0.5") == expected


def test_all_conditions_must_be_met_and_words_match_whole():
    row = {"similarity": 0.3, "LANGUAGE": "en", "grade": 5.0}
    assert _reason(row, "similarity>=0.28", "LANGUAGE==en", "grade==5") is None
    assert _reason(row, "similarity>=0.28", "LANGUAGE==e") == "score_LANGUAGE"
    assert _reason(row, "LANGUAGE!=en", "similarity>1") == "score_LANGUAGE"
    found = scores.problem(row, [scores.parse("similarity>=0.32")])
    assert found == ("score_similarity", "0.3, must be similarity>=0.32")


@pytest.mark.parametrize("row", [{}, {"s": math.nan}, {"s": "n/a"}, {"s": None}])
def test_missing_scores_follow_the_named_policy(row):
    assert _reason(row, "s>0") is None
    assert _reason(row, "s>0", missing="drop") == "score_missing"
    with pytest.raises(ValueError, match=r"'error' must be keep or drop"):
        _reason(row, "s>0", missing="error")

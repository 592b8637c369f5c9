"""ANLS, exact match, counting, true or false: short answers of other benchmarks."""

import golden_files
import numpy as np
import pytest

from mmjax.evals.scorers import anls, counting, exact_match, true_false


def test_anls_is_that_of_the_published_fixtures(golden):
    content = golden_files.read(golden / "anls/anls_expected.json")
    for item in content["published_single"]:
        found = anls.docvqa(item["prediction"], content["gold_labels"])
        assert found == pytest.approx(item["official"], abs=1e-12)
    gold = {d["questionId"]: d["answers"] for d in content["fixture_gold"]["data"]}
    said = {d["questionId"]: d["answer"] for d in content["fixture_submission"]}
    found = anls.score([said[key] for key in gold], list(gold.values()))["ANLS_docvqa"]
    expected = [content["official_per_question"][str(key)] for key in gold]
    np.testing.assert_allclose(found.each, expected, atol=1e-12)
    assert found.value == pytest.approx(content["published_mean"], abs=5e-4)


def test_anls_of_mmf_is_that_of_its_own_code(golden):
    content = golden_files.read(golden / "vqa/textvqa_val_1200.json.gz")
    items = content["items"]
    said = [item["prediction"] for item in items]
    found = anls.score(said, [item["answers"] for item in items])["ANLS_mmf"]
    expected = [item["scores"]["stvqa_anls"] for item in items]
    np.testing.assert_allclose(found.each, expected, atol=1e-12)


def test_the_conventions_part_at_exactly_a_half_and_at_runs_of_blanks():
    assert (anls.mmf("ab", ["abcd"]), anls.docvqa("ab", ["abcd"])) == (0.5, 0.0)
    assert anls.mmf("a   b", ["a b"]) < 1.0 == anls.docvqa("a   b", ["a b"])


def test_two_empty_answers_are_alike_where_the_official_scorer_divides_by_zero():
    assert anls.mmf("", [""]) == anls.docvqa("", [""]) == 1.0
    assert anls.mmf("", ["a"]) == anls.mmf("a", []) == 0.0


def test_triviaqas_normalizer_and_scores_are_the_official_ones(golden):
    content = golden_files.read(golden / "text/triviaqa_normaliser.json")
    for item in content["normalised"]:
        assert exact_match.triviaqa(item["input"]) == item["official"]
    for pair in content["pairs"]:
        said, true = pair["prediction"], [pair["gold"]]
        found = {
            name: figure.value
            for name, figure in exact_match.score([said], [true]).items()
        }
        assert found["exact_match_triviaqa"] == pair["official_em"]
        assert found["f1_triviaqa"] == pytest.approx(pair["official_f1"])
        assert found["exact_match_harness"] == pair["lm_eval_em_ignore_case_punct"]


def test_triviaqa_and_the_harness_part_on_articles_and_on_commas_in_numbers():
    pairs = [("The Beatles", "Beatles", 1, 0), ("1000", "1,000", 0, 1)]
    for said, true, official, harness in pairs:
        found = exact_match.score([said], [[true]])
        assert found["exact_match_triviaqa"].value == official
        assert found["exact_match_harness"].value == harness


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3", 3),
        ("Three.", 3),
        ("there are 12 dogs", 12),
        ("none", 0),
        ("many", None),
        ("3.5", None),
        ("10 or 12", 10),
    ],
)
def test_numbers_are_read_in_digits_and_words(text, number):
    assert counting.number(text) == number


def test_tallyqa_is_exact_and_split_by_simplicity():
    found = counting.score(["2", "two", "3", "?"], [2, 2, 2, 1], [True, False] * 2)
    assert {name: figure.value for name, figure in found.items()} == {
        "accuracy": 0.5,
        "accuracy/simple": 0.5,
        "accuracy/complex": 0.5,
        "unparsed": 0.25,
    }


def test_vsr_counts_what_says_neither_as_wrong_for_both_labels():
    said = ["Yes, it is", "false", "Maybe", "maybe"]
    found = true_false.score(said, [True, False, True, False], ["on", "on", "in", "in"])
    assert found["accuracy"].value == found["unparsed"].value == 0.5
    assert found["accuracy/on"].value == 1.0
    assert found["accuracy/in"].value == 0.0

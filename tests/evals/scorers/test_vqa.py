import golden_files
import numpy as np
import pytest

from mmjax.evals.scorers import vqa, vqa_answers

THEIRS = {
    "vqa_official": "vqa_official",
    "vqa_leaderboard": "mmf_textvqa",
    "vqa_always": "lmms_vqav2",
    "vqa_anyone": "stvqa_exact",
}


def test_every_question_scores_as_each_official_scorer_says(golden):
    content = golden_files.read(golden / "vqa/textvqa_val_1200.json.gz")
    items = content["items"]
    said = [item["prediction"] for item in items]
    found = vqa.score(said, [item["answers"] for item in items])
    for ours, theirs in THEIRS.items():
        expected = [item["scores"][theirs] for item in items]
        np.testing.assert_allclose(found[ours].each, expected, atol=1e-12)
        percent = content["corpus_percent"][theirs]
        assert 100 * found[ours].value == pytest.approx(percent, abs=1e-9)


def test_the_rules_differ_on_unanimous_answers_nearly_alone(golden):
    items = golden_files.read(golden / "vqa/textvqa_val_1200.json.gz")["items"]
    said = [item["prediction"] for item in items]
    answers = [item["answers"] for item in items]
    assert vqa.score(said, answers)["rules_differ"].value == 102
    unanimous = [len({answer.strip() for answer in ten}) == 1 for ten in answers]
    found = vqa.score(said, answers)
    official, always = found["vqa_official"].each, found["vqa_always"].each
    differ = official != always
    assert differ.sum() == 101
    assert np.all(np.array(unanimous)[differ])


def test_every_answer_is_normalized_as_each_official_normalizer_does(golden):
    strings = golden_files.read(golden / "vqa/normaliser_strings.json")
    items = golden_files.read(golden / "vqa/textvqa_val_1200.json.gz")["items"]
    for item in strings:
        assert vqa_answers.official(item["input"]) == item["official_vqaeval"]
        assert vqa_answers.leaderboard(item["input"]) == item["mmf_evalai"]
    for item in items:
        assert vqa_answers.official(item["prediction"]) == item["norm"]["official"]
        assert vqa_answers.leaderboard(item["prediction"]) == item["norm"]["mmf"]


@pytest.mark.parametrize(("same", "accuracy"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9)])
def test_accuracy_is_a_mean_over_nine_others_so_three_of_ten_are_not_all(
    same, accuracy
):
    people = ["yes"] * same + [f"no {i}" for i in range(10 - same)]
    assert vqa.agreement("yes", people) == pytest.approx(accuracy)


@pytest.mark.parametrize("seed", range(3))
def test_agreement_is_the_official_double_loop(seed):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        people = list(rng.choice(["a", "b", "c"], 10, p=[0.6, 0.3, 0.1]))
        loops = [
            min(1.0, sum(p == "a" for j, p in enumerate(people) if j != i) / 3)
            for i in range(10)
        ]
        assert vqa.agreement("a", people) == pytest.approx(sum(loops) / 10)


def test_unanimous_people_make_the_official_rule_literal():
    assert vqa.official("Yes.", ["yes"] * 10) == 0.0
    assert vqa.leaderboard("Yes.", ["yes"] * 10) == 1.0
    assert vqa.official("Yes.", ["yes"] * 9 + ["no"]) == pytest.approx(1.0)


def test_equal_answers_of_different_people_are_not_taken_for_one_person():
    """VizWiz' answers lack an id; comparing dicts would drop all equal ones."""
    assert vqa.official("blue", ["blue"] * 9 + ["red"]) == 1.0


@pytest.mark.parametrize(
    ("answer", "official", "leaderboard"),
    [
        ("it's", "it's", "it 's"),
        ("x,y", "x y", "xy"),
        ("1,000 dogs", "1000 dogs", "1000 dogs"),
        ("None", "0", "0"),
        ("the two", "2", "2"),
        ("dont", "don't", "don't"),
        ("somebody'd", "somebodyd", "somebodyd"),
        ("3.5", "3.5", "3.5"),
        ("U.S.", "us", "us"),
    ],
)
def test_traps_of_the_two_normalizers(answer, official, leaderboard):
    assert vqa_answers.official(answer) == official
    assert vqa_answers.leaderboard(answer) == leaderboard


def test_no_more_than_thirty_two_periods_are_dropped():
    assert vqa_answers.official("a." * 40).count(".") == 40 - 32


def test_a_question_without_answers_scores_nothing():
    assert vqa.official("a", []) == vqa.leaderboard("a", []) == 0.0

"""Multiple choice: by log-likelihood, by letters, MMMU's and MME's rules."""

import golden_files
import numpy as np
import pytest

from mmjax.evals.scorers import choices, mme, mmmu, option_letters


def test_acc_acc_norm_and_acc_bytes_are_those_of_the_harness(golden):
    content = golden_files.read(golden / "text/mc_acc_accnorm.json")
    items = content["items"]
    found = choices.score(
        [item["loglikelihoods"] for item in items],
        [item["choices"] for item in items],
        [item["gold"] for item in items],
    )
    for name in ("acc", "acc_norm", "acc_bytes"):
        assert found[name].each.tolist() == [item[name] for item in items]
        assert found[name].value == pytest.approx(content[name])


def test_characters_and_bytes_part_on_accents():
    found = choices.score([[-6.0, -5.0]], [["\u00e9\u00e9\u00e9\u00e9", "abc"]], [0])
    values = {name: figure.value for name, figure in found.items()}
    assert values == {"acc": 0.0, "acc_norm": 1.0, "acc_bytes": 1.0}
    found = choices.score([[-6.0, -4.0]], [["\u00e9\u00e9\u00e9\u00e9", "abcd"]], [0])
    values = {name: figure.value for name, figure in found.items()}
    assert values == {"acc": 0.0, "acc_norm": 0.0, "acc_bytes": 1.0}


def test_any_accepted_alias_counts_and_perplexity_is_of_the_first():
    found = choices.greedy([(False, True), (False,)], [(-1.0, -9.0), (-3.0,)])
    assert found["acc"].value == 0.5
    assert found["perplexity"].value == pytest.approx(np.exp(2.0))


@pytest.mark.parametrize("model", ["llava1.5_13b", "qwen_vl", "llava1.5_13b_run2"])
def test_mmmu_accuracies_are_the_official_ones_on_real_outputs(golden, model):
    content = golden_files.read(golden / "mmmu/mmmu_val_examples.json")
    run = content["models"][model]
    keys = list(run["predictions"])
    truths = [content["answers"][key] for key in keys]
    closed = [truth["question_type"] == "multiple-choice" for truth in truths]
    answers = [truth["ground_truth"] for truth in truths]
    found = mmmu.score(
        [run["predictions"][key] for key in keys],
        keys,
        [["some option"] * 9 if c else [] for c in closed],
        [a if isinstance(a, list) else [a] for a in answers],
    )
    official = run["official_result"]
    assert round(found["accuracy"].value, 3) == official["Overall"]["acc"]
    for name, figure in found.items():
        if "/" in name:
            expected = official[name.split("/")[1]]
            assert round(figure.value, 3) == expected["acc"], name
            assert figure.sums[:, 1].sum() == expected["num"]
    assert found["guessed"].value == 0.0


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("(B) is wrong, so (C)", "C"),
        ("A or B .", "B"),
        ("The right one of these is the red panda, I am sure", "B"),
        ("B.", "B"),
    ],
)
def test_mmmu_reads_the_option_that_is_named_last(text, letter):
    options = ["the cat", "the red panda", "a dog"]
    assert mmmu.choice(text, options, "k") == mmmu.Read(letter, False)


def test_mmmu_draws_by_question_and_seed_alone_and_counts_what_it_drew():
    options = ["x1", "x2", "x3", "x4"]
    keys = [f"validation_Art_{i}" for i in range(200)]
    drawn = [mmmu.choice("no idea", options, key) for key in keys]
    assert (
        drawn == [mmmu.choice("no idea", options, key) for key in reversed(keys)][::-1]
    )
    assert all(read.guessed for read in drawn)
    counts = [sum(read.letter == letter for read in drawn) for letter in "ABCD"]
    assert min(counts) > 25  # 50 expected, 6 the deviation
    other = [mmmu.choice("no idea", options, key, seed=1) for key in keys]
    assert other != drawn
    said = ["A", "hm", "hm", "3"]
    found = mmmu.score(said, keys[:4], [options] * 3 + [[]], [["A"]] * 3 + [["3"]])
    assert found["guessed"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("text", "accepted", "right"),
    [
        ("so the answer is 1,234.567", ["1234.57"], True),
        ("x = 3", ["3"], True),
        ("it is 3 or 4", ["4"], True),
        ("The gene is called MgS.", ["$MgS$", "MgS"], True),
        ("a cat", ["c"], True),  # the official slip
        ("picnics", ["c"], False),
        ("0.5", ["1/2"], False),
    ],
)
def test_mmmu_reads_open_answers_after_a_cue(text, accepted, right):
    assert mmmu.open_right(text, accepted) is right


def test_letters_are_read_as_each_benchmark_reads_them():
    assert option_letters.first_letter(" B. cats", 4) == "B"
    assert option_letters.first_letter("Because", 2) == "B"  # the official slip
    assert option_letters.only_letter("B. cats", 4) == "B"
    assert option_letters.only_letter("The answer is C.", 4) == "C"
    assert option_letters.only_letter("Because", 4) == ""
    assert option_letters.only_letter("E", 4) == ""
    assert option_letters.lone_letter("It is (C): dogs", 4) == "C"
    assert option_letters.lone_letter("A or B", 4) == ""


def test_what_names_no_option_is_wrong_and_counted_apart():
    found = option_letters.score(
        ["A", "?", "B"], [4, 4, 4], [0, 0, 0], "first_letter", ["x", "x", "y"]
    )
    values = {name: figure.value for name, figure in found.items()}
    third = pytest.approx(1 / 3)
    assert values == {
        "accuracy": third,
        "unparsed": third,
        "accuracy/x": 0.5,
        "accuracy/y": 0.0,
    }


def test_rotations_keep_the_right_choice_and_circular_wants_all_of_them():
    turned = option_letters.rotations(["p", "q", "r"], 1)
    assert [options[place] for options, place in turned] == ["q"] * 3
    assert len({options for options, _ in turned}) == 3
    answers = [place for _, place in turned] * 2
    right = [chr(ord("A") + place) for place in answers]
    right[4] = "A" if right[4] != "A" else "B"
    names = ["first"] * 3 + ["second"] * 3
    found = option_letters.circular(right, [3] * 6, answers, names)
    assert found.value == 0.5
    assert len(found.sums) == 2


def test_mme_adds_accuracy_of_questions_and_of_images_with_both_right():
    said = ["Yes", "no", "Yes, it is", "yes", "No.", "no"]
    true = ["Yes", "No", "Yes", "No", "Yes", "No"]
    images = ["a", "a", "b", "b", "c", "c"]
    kinds = ["count"] * 4 + ["OCR"] * 2
    found = mme.score(said, true, images, kinds)
    assert found["count"].value == 75 + 50
    assert found["OCR"].value == 50 + 0
    assert found["perception"].value == 175
    assert found["cognition"].value == 0


def test_mme_refuses_an_image_with_one_question_and_an_unknown_subtask():
    with pytest.raises(ValueError, match=r"image a of count has 1 questions, not 2"):
        mme.score(["yes"], ["Yes"], ["a"], ["count"])
    with pytest.raises(ValueError, match="no subtask 'smell'"):
        mme.score(["yes"], ["Yes"], ["a"], ["smell"])

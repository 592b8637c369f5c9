"""POPE, GQA and RefCOCO against their official scorers."""

import re

import golden_files
import numpy as np
import pytest

from mmjax.evals.scorers import boxes, gqa, pope, yes_no


def test_popes_figures_and_every_parsed_answer_are_the_official_ones(golden):
    items = golden_files.read(golden / "pope/coco_pope_random.jsonl.gz")
    expected = golden_files.read(golden / "pope/expected_metrics.json")["random"]
    said = [item["answer"] for item in items]
    assert [yes_no.pope(text) for text in said] == [i["official_parsed"] for i in items]
    found = pope.score(said, [item["label"] for item in items])
    for name in ("accuracy", "precision", "recall", "f1", "yes_ratio"):
        assert found[name].value == pytest.approx(expected[name], abs=1e-12)
    assert found["recall"].sums.sum(0).tolist() == [
        expected["TP"],
        expected["TP"] + expected["FN"],
    ]
    assert found["yes_ratio_of_labels"].value == 0.5


@pytest.mark.parametrize("text", ["", "NO", "Nope", "There is none", "It isn't"])
def test_pope_takes_for_yes_whatever_lacks_its_three_words(text):
    assert yes_no.pope(text) == "yes"


def test_popes_f1_of_empty_answers_comes_with_what_it_is_worth():
    found = pope.score([""] * 10, ["yes", "no"] * 5)
    assert found["f1"].value == pytest.approx(2 / 3)
    assert found["unparsed"].value == 1.0
    assert found["accuracy_strict"].value == 0.0


def test_parsers_of_yes_and_no_by_their_edges():
    assert yes_no.pope("Yes. There is no dog.") == "yes"  # the first sentence counts
    assert yes_no.strict(" YES ") == "yes"
    assert yes_no.strict("Yes.") == ""
    assert yes_no.first_word("NO, there") == "no"
    assert (yes_no.mme("Yes, ..."), yes_no.mme("N"), yes_no.mme("nah")) == (
        "yes",
        "no",
        "",
    )


def gqa_questions(content: dict) -> dict[str, gqa.Question]:
    return {
        key: gqa.Question(
            q["answer"],
            q["isBalanced"],
            q["types"]["structural"],
            q["types"]["detailed"],
            q["groups"]["global"],
            tuple(q["entailed"]),
            tuple(content["choices"][key]["valid"]),
            tuple(content["choices"][key]["plausible"]),
        )
        for key, q in content["questions"].items()
    }


def test_gqas_figures_are_those_that_its_eval_prints(golden):
    content = golden_files.read(golden / "gqa/gqa_eval_constructed.json.gz")
    said = {p["questionId"]: p["prediction"] for p in content["predictions"]}
    found = gqa.score(said, gqa_questions(content))
    printed = dict(
        re.findall(r"^(\w+): ([\d.]+)", content["official_stdout"], re.MULTILINE)
    )
    assert len(printed) == 7
    for name, value in printed.items():
        scale = 1 if name == "Distribution" else 100
        assert f"{scale * found[name.lower()].value:.2f}" == value, name


def test_gqa_normalizes_nothing_unless_asked():
    questions = {"1": gqa.Question("yes"), "2": gqa.Question("no", structural="verify")}
    assert gqa.score({"1": "Yes.", "2": "no"}, questions)["accuracy"].value == 0.5
    plain = {"1": gqa.plain("Yes."), "2": "no"}
    assert gqa.score(plain, questions)["accuracy"].value == 1.0


def test_gqa_leaves_out_what_its_files_cannot_tell():
    questions = {"1": gqa.Question("yes", entailed=("9",))}
    found = gqa.score({"1": "yes"}, questions)
    assert "consistency" not in found
    assert "validity" not in found
    with pytest.raises(ValueError, match="question 1 has no prediction"):
        gqa.score({}, questions)


def test_boxes_and_their_overlaps_are_those_of_lmms_eval(golden):
    content = golden_files.read(golden / "refcoco/rec_iou_500.json.gz")
    items = content["items"]
    said = [item["prediction_text"] for item in items]
    for item in items:
        assert (
            list(boxes.parse(item["prediction_text"]) or boxes.NOTHING)
            == item["parsed"]
        )
    found = boxes.score(said, [item["gt_norm_xyxy"] for item in items])
    expected = [item["lmms_iou"] for item in items]
    np.testing.assert_allclose(found["iou"].each, expected, atol=1e-12)
    assert found["iou"].value == pytest.approx(content["mean_iou_lmms"], abs=1e-12)
    assert found["acc@0.5"].value == content["acc@0.5_lmms"]
    assert found["acc@0.5"].each.tolist() == [item["acc@0.5"] for item in items]


def test_half_an_overlap_is_enough_and_a_point_is_no_error():
    whole = (0.0, 0.0, 1.0, 1.0)
    found = boxes.score(["[0, 0, 0.5, 1]", "(0, 0, 1, 1)"], [whole, whole])
    assert found["acc@0.5"].each.tolist() == [1.0, 0.0]
    assert found["unparsed"].value == 0.5
    point = boxes.Box(0.3, 0.3, 0.3, 0.3)
    assert boxes.iou(point, point) == 0.0


def test_boxes_in_thousandths_are_scaled():
    assert boxes.parse("[0, 250, 500, 1000]", 1000) == boxes.Box(0, 0.25, 0.5, 1)

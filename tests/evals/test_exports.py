import json

import pytest

from mmjax.evals import exports
from mmjax.evals.example import Example

SHOWN = Example(
    "7", ("x.jpg",), facts={"image_id": 7, "question_id": 70, "image": "x.jpg"}
)


def test_results_have_the_fields_and_types_that_the_servers_check():
    said = ['A "dog"\u00e9']
    assert json.loads(exports.coco_results([SHOWN], said)) == [
        {"image_id": 7, "caption": said[0]}
    ]
    assert json.loads(exports.vqa_results([SHOWN], said)) == [
        {"question_id": 70, "answer": said[0]}
    ]
    assert json.loads(exports.vizwiz_results([SHOWN], said)) == [
        {"image": "x.jpg", "answer": said[0]}
    ]
    assert json.loads(exports.gqa_results([SHOWN], said)) == [
        {"questionId": "7", "prediction": said[0]}
    ]


def test_llavas_answers_are_lines_with_all_its_fields_and_the_same_each_time():
    made = exports.llava_answers([SHOWN, SHOWN], ["P", "P"], ["a\nb", "c"], "m1")
    lines = made.splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0]) == {
        "question_id": 70,
        "prompt": "P",
        "text": "a\nb",
        "answer_id": "m1/70",
        "model_id": "m1",
        "metadata": {},
    }
    assert made == exports.llava_answers(
        [SHOWN, SHOWN], ["P", "P"], ["a\nb", "c"], "m1"
    )


def test_an_export_of_another_task_is_refused():
    with pytest.raises(ValueError, match="example 1 has no image_id"):
        exports.coco_results([Example("1")], ["x"])


def test_a_file_is_written_whole_or_named(tmp_path):
    exports.write(tmp_path / "out.json", "[]")
    assert (tmp_path / "out.json").read_text() == "[]"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    with pytest.raises(ValueError, match="can't be written"):
        exports.write(tmp_path / "none/out.json", "[]")

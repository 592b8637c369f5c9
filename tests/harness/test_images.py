"""lmms-eval drives a model to the answers that it gives when asked directly."""

import io
import json

import numpy as np
import PIL.Image
import pytest
import talking

from data_pipelines.records import Text
from mmjax import answering
from mmjax.answering import Request
from mmjax.harness import images

pytestmark = pytest.mark.usefixtures("quick_compilation")

QUESTIONS = ("the dog", "a red", "near the blue", "it sees")

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: {kind}
doc_to_visual: !function shown.images
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
{more}
"""
SAID = """
generation_kwargs: {max_new_tokens: 6, temperature: 0, do_sample: false}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""
CHOSEN = """
doc_to_choice: ["red", "blue cube", "dog"]
metric_list:
  - metric: acc
"""
SHOWN = """
import PIL.Image


def images(doc):
    return [PIL.Image.open(doc["file"])]
"""


def _pillow(image):
    return PIL.Image.open(io.BytesIO(image.data))


def test_images_stand_where_the_prompt_says_else_before_it():
    one, other = _pillow(talking.image(0)), _pillow(talking.image(1))
    kinds = [type(part).__name__ for part in images.parts("a ball", [one, other])]
    assert kinds == ["Image", "Image", "Text"]
    first, *rest = images.parts("a <image>\nb<image 2>", [one, other])
    assert first == Text("a")
    assert [type(part).__name__ for part in rest] == ["Image", "Text", "Image"]
    assert rest[1] == Text("b")
    decoded = np.array(_pillow(rest[2]))
    assert (decoded == np.array(other)).all()


def test_what_cannot_be_shown_is_told():
    one = _pillow(talking.image(0))
    with pytest.raises(ValueError, match="<image> comes 2 times, there are 1 images"):
        images.parts("<image> and <image>", [one])
    with pytest.raises(ValueError, match="a str: only images are read"):
        images.parts("what happens?", ["film.mp4"])


@pytest.fixture
def tasks(tmp_path):
    """Tasks of questions about images, as a user's own files."""
    from lmms_eval.tasks import TaskManager

    lines = []
    for number, question in enumerate(QUESTIONS):
        file = tmp_path / f"{number}.png"
        file.write_bytes(talking.image(number).data)
        asked = {"question": question, "file": str(file), "answer": "dog"}
        lines.append(json.dumps(asked))
    data = tmp_path / "asked.jsonl"
    data.write_text("\n".join(lines) + "\n")
    (tmp_path / "shown.py").write_text(SHOWN)
    for name, kind, more in (
        ("said", "generate_until", SAID),
        ("chosen", "multiple_choice", CHOSEN),
    ):
        text = TASK.format(name=name, file=data, kind=kind, more=more)
        (tmp_path / f"{name}.yaml").write_text(text)
    return TaskManager(include_path=str(tmp_path), include_defaults=False)


@pytest.mark.extra
def test_what_is_said_is_what_the_model_says_when_asked(answerer, request):
    lmms_eval = pytest.importorskip("lmms_eval.evaluator")
    found = lmms_eval.simple_evaluate(
        model=images.model(answerer, 3), tasks=["said"], log_samples=True,
        task_manager=request.getfixturevalue("tasks"),
    )  # fmt: skip
    own = [
        answering.answer(
            answerer, [Request((talking.image(number), Text(question)), 6)]
        )[0].text.strip()
        for number, question in enumerate(QUESTIONS)
    ]
    assert len(set(own)) > 1
    samples = sorted(found["samples"]["said"], key=lambda sample: sample["doc_id"])
    assert [sample["filtered_resps"][0].strip() for sample in samples] == own
    right = np.mean([text == "dog" for text in own])
    assert found["results"]["said"]["exact_match,none"] == right


@pytest.mark.extra
def test_tasks_of_log_likelihoods_are_refused_before_they_are_lost(answerer, request):
    lmms_eval = pytest.importorskip("lmms_eval.evaluator")
    with pytest.raises(ValueError, match="loses the log-likelihoods"):
        lmms_eval.simple_evaluate(
            model=images.model(answerer), tasks=["chosen"],
            task_manager=request.getfixturevalue("tasks"),
        )  # fmt: skip

"""Answers in the files that others' scorers and evaluation servers take."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from mmjax import files
from mmjax.evals.example import Example


def coco_results(examples: Sequence[Example], captions: Sequence[str]) -> str:
    """COCO's results: a JSON list of `{"image_id", "caption"}`."""
    return json.dumps(
        [
            {"image_id": _fact(example, "image_id"), "caption": said}
            for example, said in zip(examples, captions, strict=True)
        ]
    )


def vqa_results(examples: Sequence[Example], answers: Sequence[str]) -> str:
    """VQA's results: a JSON list of `{"question_id", "answer"}`."""
    return json.dumps(
        [
            {"question_id": _fact(example, "question_id"), "answer": said}
            for example, said in zip(examples, answers, strict=True)
        ]
    )


def vizwiz_results(examples: Sequence[Example], answers: Sequence[str]) -> str:
    """VizWiz' results: a JSON list of `{"image", "answer"}`."""
    return json.dumps(
        [
            {"image": _fact(example, "image"), "answer": said}
            for example, said in zip(examples, answers, strict=True)
        ]
    )


def gqa_results(examples: Sequence[Example], answers: Sequence[str]) -> str:
    """What GQA's eval.py reads: a JSON list of `{"questionId", "prediction"}`."""
    return json.dumps(
        [
            {"questionId": example.id, "prediction": said}
            for example, said in zip(examples, answers, strict=True)
        ]
    )


def llava_answers(
    examples: Sequence[Example],
    prompts: Sequence[str],
    answers: Sequence[str],
    model: str,
) -> str:
    """LLaVA's answers, a JSON record a line, which all its scoring scripts read.

    `answer_id` is made of model and question, so that the same run gives the same file.
    """
    lines = []
    for example, prompt, said in zip(examples, prompts, answers, strict=True):
        key = example.facts.get("question_id", example.id)
        record = {
            "question_id": key,
            "prompt": prompt,
            "text": said,
            "answer_id": f"{model}/{key}",
            "model_id": model,
            "metadata": {},
        }
        lines.append(json.dumps(record) + "\n")
    return "".join(lines)


def write(path: pathlib.Path, text: str) -> None:
    """Writes an export, whole or not at all; ValueError if it can't be written."""
    try:
        files.replace(path, text)
    except OSError as error:
        raise ValueError(f"{path} can't be written: {error.strerror}") from None


def _fact(example: Example, name: str) -> Any:
    if name not in example.facts:
        raise ValueError(
            f"example {example.id} has no {name}: this export isn't its task's"
        )
    return example.facts[name]

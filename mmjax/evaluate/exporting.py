"""Answers in the files that others' scorers take, beside the results."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmjax.evals import exports
from mmjax.evals.example import Example
from mmjax.evaluation.jobs import Job

# By task; what isn't here has LLaVA's answers alone.
FORMATS: dict[str, Callable[[Sequence[Example], Sequence[str]], str]] = {
    "coco": exports.coco_results,
    "coco_official": exports.coco_results,
    "nocaps": exports.coco_results,
    "vqav2": exports.vqa_results,
    "okvqa": exports.vqa_results,
    "vizwiz": exports.vizwiz_results,
    "gqa": exports.gqa_results,
}


def write(
    home: pathlib.Path, job: Job, records: Sequence[Mapping[str, Any]], model: str
) -> list[pathlib.Path]:
    """Writes a job's answers; those of tasks that are chosen by likelihood, none."""
    if job.manner.task.mode != "generate":
        return []
    said = {record["id"]: record for record in records}
    asked = [example for example in job.examples if example.id in said]
    answers = [said[example.id]["parsed"] for example in asked]
    prompts = [said[example.id]["prompt"] for example in asked]
    texts = {
        f"{job.stem}.answers.jsonl": exports.llava_answers(
            asked, prompts, answers, model
        )
    }
    if job.name in FORMATS:
        texts[f"{job.stem}.export.json"] = FORMATS[job.name](asked, answers)
    for name, text in texts.items():
        exports.write(home / name, text)
    return [home / name for name in texts]

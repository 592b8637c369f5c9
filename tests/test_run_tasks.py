"""Few-shot tasks at the end of a run, on the data it makes itself."""

import json

import jax
import pytest
import synthetic
import tiny_run

from data_pipelines.prepare import sample_world
from mmjax import answering, run_setup, run_tasks, step


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("tasks")
    sample_world.ensure(root / "world", tiny_run.spec(), progress=False)
    made = tiny_run.make_config(root / "world")
    made.evaluation.tasks, made.evaluation.shots = ("questions",), (0, 1)
    made.evaluation.examples, made.data.row_tokens = 3, 192
    return run_setup.set_up(made, root / "work")


def test_each_kind_of_question_is_asked_with_each_number_of_shots(run):
    wanted = run_tasks.open(run)
    params = step.init_state(run.model, run.config, run.mesh, jax.random.key(0)).params
    tokenizer = run.train.pipeline.tokenizer
    said = []
    with synthetic.quick_compilation():
        answerer = answering.ready(run.config, run.mesh, tokenizer, params)
        found = run_tasks.evaluate(run, wanted, answerer, said.append)
    kinds = {path.partition(".")[2] for path in found}
    assert {"colour", "naming", "cloze"} <= kinds
    assert len(said) == len(found)
    home = run.workdir / "evaluation" / f"step_{run.config.steps}"
    for name, by_shots in found.items():
        assert list(by_shots) == [0, 1]
        for shots, result in by_shots.items():
            lines = (home / f"{name}-{shots}shot.jsonl").read_text().splitlines()
            assert 2 <= len(lines) == result.examples <= 3
            scores = [json.loads(line)["score"] for line in lines]
            assert result.figures["accuracy"].value == sum(scores) / len(scores)


def test_a_model_that_makes_no_text_is_asked_nothing(run):
    assert run_tasks.evaluate(run, run_tasks.open(run), None, print) == {}


def test_what_is_missing_is_told_at_the_start(run):
    run.config.evaluation.tasks = ("pope",)
    run.config.evaluation.tasks_root = str(run.workdir)
    with pytest.raises(ValueError, match=r"put coco_pope_random\.json"):
        run_tasks.open(run)
    run.config.evaluation.tasks = ("nothing",)
    with pytest.raises(ValueError, match="'nothing' is none of"):
        run_tasks.open(run)
    run.config.evaluation.tasks = ("questions",)

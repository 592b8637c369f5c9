"""Few-shot tasks of a run, at its end and on the way, on the data it makes itself."""

import dataclasses
import json

import jax
import pytest
import synthetic
import tiny_run

from data_pipelines.prepare import sample_world
from mmjax import answering, metrics, run_setup, run_tasks, step, train
from mmjax.evaluate import __main__ as evaluate
from mmjax.evaluation.results import Result


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
        found = run_tasks.evaluate(run, wanted, answerer, 6, said.append)
    kinds = {path.partition(".")[2] for path in found}
    assert {"colour", "naming", "cloze"} <= kinds
    assert len(said) == len(found)
    home = run.workdir / "evaluation" / "step_6"
    for name, by_shots in found.items():
        assert list(by_shots) == [0, 1]
        for shots, result in by_shots.items():
            lines = (home / f"{name}-{shots}shot.jsonl").read_text().splitlines()
            assert 2 <= len(lines) == result.examples <= 3
            scores = [json.loads(line)["score"] for line in lines]
            assert result.figures["accuracy"].value == sum(scores) / len(scores)


def test_a_task_of_which_no_example_fits_a_row_says_so():
    nothing = Result("t", 0, "accuracy", {}, 0, 0, 3, 0, {})
    assert run_tasks.line("t", {0: nothing}) == "t: no example fits a row"
    assert run_tasks.record({"t": {0: nothing}}) == {}


def test_a_model_that_makes_no_text_is_asked_nothing(run):
    assert run_tasks.evaluate(run, run_tasks.open(run), None, 6, print) == {}


def test_what_is_missing_is_told_at_the_start(run):
    run.config.evaluation.tasks = ("pope",)
    run.config.evaluation.tasks_root = str(run.workdir)
    with pytest.raises(ValueError, match=r"put coco_pope_random\.json"):
        run_tasks.open(run)
    run.config.evaluation.tasks = ("nothing",)
    with pytest.raises(ValueError, match="'nothing' is none of"):
        run_tasks.open(run)
    run.config.evaluation.tasks = ("questions",)


@pytest.mark.slow
def test_tasks_are_asked_on_the_way_and_again_by_no_later_start(tmp_path, monkeypatch):
    sample_world.ensure(tmp_path / "world", tiny_run.spec(), progress=False)
    made = tiny_run.make_config(tmp_path / "world")
    made.evaluation.tasks, made.evaluation.shots = ("questions",), (0,)
    made.evaluation.examples, made.evaluation.tasks_every = 1, 2
    asked = []
    answer = answering.answer

    def counted(answerer, requests):
        asked[-1] += len(requests)
        return answer(answerer, requests)

    monkeypatch.setattr(answering, "answer", counted)
    with synthetic.quick_compilation():
        for steps in (4, 6):
            asked.append(0)
            train.train(dataclasses.replace(made, steps=steps), tmp_path / "run")
    lines = metrics.read_lines(tmp_path / "run" / "metrics.jsonl")
    found = [r for r in lines if "tasks/questions.colour/0shot" in r]
    assert [r["step"] for r in found] == [2, 4, 6]
    assert {r["tasks/questions.colour/0shot"] for r in found} <= {0.0, 1.0}
    kinds = sum(name.startswith("tasks/") for name in found[0])
    samples = made.evaluation.samples
    # The first start asks at 2 and at its end, 4; what the second finds at 4 is there.
    assert asked == [2 * kinds + samples, kinds + samples]
    asked.append(0)  # nor does the program that evaluates ask what the run has asked
    same = ["--tasks=questions", "--shots=0", "--limit=1"]
    with synthetic.quick_compilation():
        evaluate.main(["evaluate", f"--workdir={tmp_path / 'run'}", *same])
    assert asked[-1] == 0
    results = tmp_path / "run" / "evaluation" / "step_6" / "results.json"
    named = kinds + 1  # of naming no example fits a row
    assert len(json.loads(results.read_text())["runs"]) == named

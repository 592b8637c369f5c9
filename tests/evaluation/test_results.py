"""What is made of the answers of a task."""

import json

import numpy as np

from mmjax.evals.example import Example, Output
from mmjax.evals.prompts import Prompt
from mmjax.evals.tasks import Task
from mmjax.evaluation import results
from mmjax.evaluation.running import Said

TASK = Task({}, Prompt("{question}"), ("same",), "accuracy", stops=("\n", "."))
SETTINGS = {"shots": 2, "seed": 0}


def said(text: str, dropped: int = 0) -> Said:
    return Said(Output(text), {"id": "", "text": text, "dropped": dropped})


def scored(count: int = 40):
    examples = [Example(f"e{n}", references=("yes",)) for n in range(count)]
    examples += [Example("secret"), Example("long", references=("yes",))]
    given = {f"e{n}": said(" yes.\nno" if n % 4 else "no", n % 2) for n in range(count)}
    given["secret"] = said("what")
    return results.score(TASK, examples, given, "t", SETTINGS, 0)


def test_figures_examples_and_what_is_left_out_add_up():
    result, records = scored()
    figure = result.figures["accuracy"]
    assert figure.value == 0.75
    assert figure.low < 0.75 < figure.high
    spread = 1.96 * np.sqrt(0.75 * 0.25 / 40)
    assert abs((figure.high - figure.low) / 2 - spread) < 0.03
    assert (result.examples, result.secret, result.left_out) == (40, 1, 1)
    assert result.dropped == 20
    assert [r["parsed"] for r in records[:2]] == ["no", "yes"]
    assert [r["score"] for r in records[:2]] == [0.0, 1.0]
    assert "score" not in records[-1]


def test_likeliest_choice_and_what_is_said_greedily_are_told():
    examples = [Example("1", (), "a", ("x", "y"), 0)]
    given = {"1": Said(Output(logprobs=(-2.0, -1.0), greedy=(False, False)),
                       {"id": "1", "dropped": 0})}  # fmt: skip
    for scorer, mode, parsed in (
        ("choices", "choices", "y"), ("greedy", "greedy", ""),
    ):  # fmt: skip
        task = Task({}, Prompt("{question}"), (scorer,), "acc", mode=mode)
        result, [record] = results.score(task, examples, given, "t", SETTINGS, 0)
        assert record["parsed"] == parsed
        assert record["score"] == result.figures["acc"].value == 0.0


def test_results_of_other_shots_stay_in_the_file(tmp_path):
    result, _ = scored()
    results.write(tmp_path, {"checkpoint": "c"}, [result])
    results.write(tmp_path, {"checkpoint": "c"}, [result._replace(shots=4)])
    results.write(tmp_path, {"checkpoint": "c"}, [result._replace(shots=4)])
    held = json.loads((tmp_path / "results.json").read_text())
    assert [run["shots"] for run in held["runs"]] == [2, 4]
    assert held["runs"][0]["figures"]["accuracy"]["value"] == 0.75


def test_the_table_tells_what_is_not_in_the_figures():
    result, _ = scored()
    lines = results.table([result])
    assert lines[0].split()[:4] == ["task", "shots", "figure", "value"]
    assert "0.75" in lines[1]
    for note in ("1 without a known", "1 too long for a row", "20 shots without room"):
        assert note in lines[1]

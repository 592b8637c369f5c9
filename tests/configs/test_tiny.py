"""The ablation that looks for in-context learning finds it, in minutes."""

import json

import programs
import pytest


@pytest.mark.slow
def test_words_are_learned_from_the_context_and_from_nothing_else(tmp_path):
    programs.run(
        "mmjax.train", "--config=configs/ablations/tiny.py", "--config.steps=3000",
        f"--config.data.root={tmp_path / 'world'}", f"--workdir={tmp_path / 'run'}",
        "--config.evaluation.tasks_every=0",
    )  # fmt: skip
    asked = ("mmjax.evaluate", f"--workdir={tmp_path / 'run'}", "--tasks=questions")
    programs.run(*asked, "--shots=0,4,8")
    programs.run(*asked, "--shots=8", "--exchanged", f"--out={tmp_path / 'out'}")
    found = {}
    for home in (tmp_path / "run" / "evaluation", tmp_path / "out"):
        text = (home / "step_3000" / "results.json").read_text()
        for run in json.loads(text)["runs"]:
            assert run["examples"] == 240
            found[run["name"], run["shots"]] = run["figures"]["accuracy"]
    name = "questions.one_name"
    right = [found[name, shots]["value"] for shots in (0, 4, 8)]
    assert right == sorted(right)
    assert right[-1] >= max(0.9, right[0] + 0.2)
    chance = found[f"{name}.exchanged", 8]
    assert chance["low"] - 0.03 < 0.5 < chance["high"] + 0.03

"""lm-evaluation-harness drives a model to the answers that our own tasks give."""

import pytest
import talking

from mmjax.evaluation import jobs, running
from mmjax.harness import texts

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.extra
def test_arc_gets_the_same_choices_through_the_harness(answerer, real_data, tmp_path):
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.tasks import TaskManager

    count, root = 40, tmp_path / "arc_easy"
    home = root / "ARC-Easy"
    home.mkdir(parents=True)
    lines = (real_data / "text_qa/arc_easy_test_500.jsonl").read_text().splitlines()
    short = [line for line in lines if len(line) < 480][:count]
    (root / "arc_easy_test_500.jsonl").write_text("\n".join(short) + "\n")
    (tmp_path / "mine.yaml").write_text(
        f"""task: mine
dataset_path: json
dataset_kwargs: {{data_files: {{test: {root}/arc_easy_test_500.jsonl}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{choices.label.index(answerKey)}}}}"
doc_to_choice: "{{{{choices.text}}}}"
metric_list:
  - metric: acc
  - metric: acc_norm
"""
    )
    answerer = answerer._replace(config=talking.make_config(tmp_path))
    answerer.config.data.row_tokens = 1024
    found = lm_eval.simple_evaluate(
        model=texts.model(answerer), tasks=["mine"], log_samples=True,
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
    )  # fmt: skip
    [job] = jobs.of_task("arc_easy", "", root, jobs.Choice())
    [(_, result, _)] = jobs.run(answerer, [job], tmp_path / "out", "c", 16, print)
    said = running.read(tmp_path / "out" / "arc_easy-0shot.jsonl")
    samples = found["samples"]["mine"]
    assert len(samples) == len(said) == len(short)
    for sample in samples:
        theirs = [float(pair[0][0]) for pair in sample["resps"]]
        own = said[sample["doc"]["id"]].output.logprobs
        assert own == pytest.approx(theirs, rel=1e-4)
    for name in ("acc", "acc_norm"):
        theirs = found["results"]["mine"][f"{name},none"]
        assert result.figures[name].value == pytest.approx(theirs)

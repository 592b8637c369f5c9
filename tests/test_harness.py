"""lm-evaluation-harness drives a model to the answers that our own tasks give."""

import pytest
import talking

from mmjax import answering, harness
from mmjax.answering import Request, Text
from mmjax.evaluation import jobs, running

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_prompts_are_read_once_and_scores_are_those_of_each_alone(answerer):
    pairs = [("the dog", " sees it"), ("the dog", " near"), ("", "a red ball"),
             ("a cube", " and"), ("the dog", " it")]  # fmt: skip
    found = harness.scored(answerer, pairs, 2)
    for (prompt, text), (total, greedy) in zip(pairs, found):
        parts = (Text(prompt),) if prompt else ()
        [score] = answering.answer(answerer, [Request(parts, continuations=(text,))])[
            0
        ].scores
        assert total == pytest.approx(score.total, rel=1e-4)
        assert greedy == score.greedy


def test_what_the_harness_asks_for_in_its_own_words():
    assert harness._pair("Answer: ", "yes") == ("Answer:", " yes")
    how = {"until": "\n", "max_gen_toks": 5, "temperature": 0.0, "do_sample": False}
    found = harness._request("a", how)
    assert found == Request((Text("a"),), 5, 0.0, stop=("\n",))
    drawn = harness._request("a", {"until": ["."], "temperature": 0.5, "top_p": 0.9})
    assert (drawn.temperature, drawn.top_p, drawn.stop) == (0.5, 0.9, (".",))


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
        model=harness.model(answerer), tasks=["mine"], log_samples=True,
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--workdir is missing"),
        (["--workdir=w"], "--tasks is missing"),
        (["--workdir=w", "--tasks=a", "--batch=0"], "--batch=0: must be at least 1"),
    ],
)
def test_mistakes_are_told_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        harness.main(["harness", *arguments])


def test_without_the_library_the_command_to_install_it_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lm_eval", None)
    with pytest.raises(ValueError, match=r"pip install 'mmjax\[harness\]'"):
        harness.main(["harness", "--workdir=w", "--tasks=a"])

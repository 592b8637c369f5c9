"""The program: files of a task and a run in, figures, examples, page, exports out."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys

import chat_server
import judging_plans
import numpy as np
import pytest
import talking
from chat_server import Act

from data_pipelines import records, shards
from data_pipelines.records import Document, Text
from mmjax import checkpoint, config
from mmjax.evals.scorers import captions, meteor
from mmjax.evaluate import __main__ as program

WORDS = ("red", "blue", "ball", "cube", "dog")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A checkpoint, its question documents, and files of two tasks."""
    folder = tmp_path_factory.mktemp("run")
    made = talking.make_config(folder)
    made.evaluation.questions, made.data.row_tokens = "questions", 192
    params = talking.parameters(made)
    meta = {"config": config.to_dict(made)}
    checkpoint.save_weights(str(folder / "checkpoints"), params, meta)
    _questions(folder / "questions")
    _files(folder / "evals")
    return folder


def _questions(home):
    documents = [
        Document((talking.image(n), Text("a small", False), Text(f" {WORDS[n % 5]}")),
                 kind="naming")
        for n in range(9)
    ]  # fmt: skip
    keyed = [(bytes([n]) * 16, records.encode(d)) for n, d in enumerate(documents)]
    shards.write_manifest(home, [shards.write_shard(home, 0, 1, keyed)], {})


def _files(home):
    rng = np.random.default_rng(0)
    arc = home / "arc_easy" / "ARC-Easy"
    arc.mkdir(parents=True)
    for split, count in (("Test", 11), ("Train", 6)):
        lines = []
        for n in range(count):
            words = rng.permutation(WORDS)[:3]
            choices = [{"text": w, "label": k} for w, k in zip(words, "ABC")]
            asked = {"stem": f"the dog sees {n}", "choices": choices}
            line = {"id": f"{split}{n}", "question": asked, "answerKey": "B"}
            lines.append(json.dumps(line))
        (arc / f"ARC-Easy-{split}.jsonl").write_text("\n".join(lines) + "\n")
    vizwiz = home / "vizwiz"
    for split in ("val", "train"):
        (vizwiz / split).mkdir(parents=True)
        rows = []
        for n in range(5):
            (vizwiz / split / f"{n}.jpg").write_bytes(talking.image(n).data)
            answers = [{"answer": "red", "answer_confidence": "yes"}] * 10
            rows.append({"image": f"{n}.jpg", "question": "a", "answers": answers})
        (vizwiz / f"{split}.json").write_text(json.dumps(rows))


def evaluate(run, *arguments):
    program.main(["evaluate", f"--workdir={run}", f"--data={run}/evals", *arguments])


def test_tasks_give_figures_examples_a_page_and_exports(run, capsys):
    evaluate(run, "--tasks=arc_easy,vizwiz,questions", "--shots=0,2", "--batch=4")
    told = capsys.readouterr().out
    home = run / "evaluation" / "step_0"
    held = json.loads((home / "results.json").read_text())
    runs = {(r["name"], r["shots"]): r for r in held["runs"]}
    assert list(runs) == [
        (name, shots)
        for name in ("arc_easy", "vizwiz", "questions.naming")
        for shots in (0, 2)
    ]
    for (name, shots), found in runs.items():
        text = (home / f"{name}-{shots}shot.jsonl").read_text()
        lines = list(map(json.loads, text.splitlines()))
        assert len(lines) == found["examples"] + found["secret"]
        mean = np.mean([line["score"] for line in lines])
        assert found["figures"][found["main"]]["value"] == pytest.approx(mean)
        assert all(len(x["shots"]) + x["dropped"] == shots for x in lines)
        assert name in told
    answers = json.loads((home / "vizwiz-0shot.export.json").read_text())
    assert [one["image"] for one in answers] == [f"{n}.jpg" for n in range(5)]
    llava = (home / "vizwiz-2shot.answers.jsonl").read_text().splitlines()
    assert json.loads(llava[0])["prompt"].count("<image>") == 3
    page = (home / "page.html").read_text()
    assert page.count("<figure") == sum(r["examples"] for r in runs.values())
    assert page.count("data:image/png") == 2 * (5 + 9)
    again = [path.read_bytes() for path in sorted(home.iterdir())]
    evaluate(run, "--tasks=arc_easy,vizwiz,questions", "--shots=0,2")
    assert "answered already" in capsys.readouterr().out
    assert [path.read_bytes() for path in sorted(home.iterdir())] == again


@pytest.mark.slow
def test_exchanged_answers_are_a_result_of_their_own(run, tmp_path):
    for more in ([], ["--exchanged"]):
        evaluate(run, "--tasks=arc_easy", "--shots=0,4", f"--out={tmp_path}", *more)
    home = tmp_path / "step_0"
    held = json.loads((home / "results.json").read_text())["runs"]
    assert [(one["name"], one["shots"]) for one in held] == [
        ("arc_easy", 4), ("arc_easy", 0), ("arc_easy.exchanged", 4),
    ]  # fmt: skip
    plain, other = (
        [json.loads(x) for x in (home / f"{n}-4shot.jsonl").read_text().splitlines()]
        for n in ("arc_easy", "arc_easy.exchanged")
    )
    assert [x["shots"] for x in plain] == [x["shots"] for x in other]
    assert [x["prompt"] for x in plain] != [x["prompt"] for x in other]


def test_a_limit_takes_some_and_a_larger_one_adds_to_them(run, tmp_path):
    taken = []
    for limit in (2, 4):
        evaluate(run, "--tasks=arc_easy", f"--limit={limit}", f"--out={tmp_path}")
        path = tmp_path / "step_0" / "arc_easy-0shot.jsonl"
        found = [json.loads(line)["id"] for line in path.read_text().splitlines()]
        assert len(found) == limit
        taken.append(set(found))
    assert taken[0] < taken[1]


@pytest.mark.slow
def test_similar_images_stand_before_the_query(run, tmp_path, capsys):
    evaluate(run, "--tasks=vizwiz", "--shots=1,2", "--similar", f"--out={tmp_path}")
    told = capsys.readouterr().out
    assert told.count("looking for similar images") == 1  # for both numbers of shots
    path = tmp_path / "step_0" / "vizwiz-2shot.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()]
    # Images of both splits are the same ones, and the nearest stands last.
    numbers = [line["images"][0].rpartition("/")[2].split(".")[0] for line in found]
    assert numbers == list("01234")
    assert len({line["shots"][-1] for line in found}) == 5


ENV = "MMJAX_TEST_KEY"
KEY = "sk-very-secret-0123456789"


def _contents(home: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(home.iterdir())}


OPEN = "--tasks=arc_easy,vizwiz,questions"


@pytest.fixture(scope="module")
def evaluated(run, tmp_path_factory):
    """The results of tasks, without a judge."""
    folder = tmp_path_factory.mktemp("evaluated")
    evaluate(run, OPEN, f"--out={folder}")
    return folder / "step_0"


def test_a_judge_adds_its_figure_and_nothing_else_changes(
    run, evaluated, tmp_path, capsys, monkeypatch
):
    """Without --judge the files are what they were, byte for byte, judged or not."""
    monkeypatch.setenv(ENV, KEY)
    common = [OPEN, f"--out={tmp_path}"]
    home = shutil.copytree(evaluated, tmp_path / "step_0")
    plain = _contents(home)

    def plan(prompt: str, number: int) -> Act:
        red = "red" in judging_plans.told(prompt).references
        return Act(says="yes" if red else "no")

    with chat_server.serve(plan) as server:
        asks = [
            f"--judge={server.url}/", "--judge_model=m", f"--judge_key_env={ENV}",
            "--judge_requests_per_minute=60000",
        ]  # fmt: skip
        evaluate(run, *common, *asks)
        told = capsys.readouterr().out
        count = len(server.asked)
        judged = _contents(home)
        evaluate(run, *common, *asks)
        assert len(server.asked) == count > 0
        assert _contents(home) == judged
        assert all(
            one.headers["Authorization"] == f"Bearer {KEY}" for one in server.asked
        )
    assert told.count("arc_easy isn't judged: it is by likelihood") == 1
    held = {r["name"]: r for r in json.loads(judged["results.json"])["runs"]}
    assert "judged" not in held["arc_easy"]["figures"]
    own = held["questions.naming"]
    assert own["figures"]["judged"]["value"] == pytest.approx(2 / 9)
    assert held["vizwiz"]["figures"]["judged"] == {"value": 1, "low": 1, "high": 1}
    assert (own["judged"], own["judge_failed"]) == (9, {})
    assert own["settings"]["judge"]["model"] == "m"
    lines = judged["questions.naming-0shot.jsonl"].decode().splitlines()
    for record in map(json.loads, lines):
        assert record["judged"] == ("red" in record["references"])
    assert judged["page.html"].count(b", the judge says ") == 5 + 9
    assert sum(" judged " in line for line in told.splitlines()) == 2
    (journal,) = set(judged) - set(plain)
    assert judged[journal].count(b"\n") == count
    assert KEY.encode() not in b"".join(judged.values())
    evaluate(run, *common)
    assert {n: x for n, x in _contents(home).items() if n != journal} == plain


def test_killed_while_the_judge_is_asked_it_goes_on(run, evaluated, tmp_path):
    common = [OPEN, f"--out={tmp_path}"]
    home = shutil.copytree(evaluated, tmp_path / "step_0")
    plain = _contents(home)

    def plan(prompt: str, number: int) -> Act:
        if len(server.asked) == 3:
            process.kill()
        return judging_plans.exact(prompt, number)

    with chat_server.serve(plan) as server:
        asks = [
            f"--judge={server.url}", "--judge_model=m", "--judge_concurrency=1",
            "--judge_requests_per_minute=60000",
        ]  # fmt: skip
        flags = [f"--workdir={run}", f"--data={run}/evals", *common, *asks]
        process = subprocess.Popen([sys.executable, "-m", "mmjax.evaluate", *flags])
        assert process.wait(timeout=300) == -signal.SIGKILL
        killed = _contents(home)
        (journal,) = set(killed) - set(plain)
        assert {n: x for n, x in killed.items() if n != journal} == plain
        assert killed[journal].count(b"\n") == 2
        assert len(server.asked) == 3
        evaluate(run, *common, *asks)
        prompts = {asked.prompt for asked in server.asked}
        assert len(server.asked) == len(prompts) + 1  # the one that was open
    runs = json.loads((home / "results.json").read_text())["runs"]
    assert [one.get("judged") for one in runs] == [None, 5, 9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks=x"], "--tasks=x: must be one of questions, arc_challenge"),
        ([], "--tasks is missing: some of questions, arc_challenge"),
        (["--tasks=pope"], "pope (random): put coco_pope_random.json"),
        (["--tasks=arc_easy", "--shots=two"], "--shots=two: must be whole numbers"),
        (["--tasks=arc_easy", "--split=x"], "arc_easy has no split 'x'"),
        (["--tasks=arc_easy", "--shots=99"], "99 shots are asked for, 6 solved"),
        (["--tasks=arc_easy", "--batch=0"], "--batch=0: must be at least 0 and 1"),
        (["--tasks=arc_easy", "--checkpoint=c", "--follow"], "--follow: goes with"),
        (["--tasks=arc_easy", "--instruct"], "arc_easy: has no prompt for models"),
        (["--tasks=vizwiz", "--judge=x", "--judge_model=m"], "--judge=x: must be as"),
        (["--tasks=vizwiz", "--judge=http://h/v1"], "--judge_model: name the"),
        (["--tasks=vizwiz", "--judge_model=m"], "--judge_model: goes with --judge"),
        (
            ["--tasks=vizwiz", "--judge=http://h/v1", "--judge_key_env=MMJAX_NO_KEY"],
            "--judge_key_env=MMJAX_NO_KEY: no such environment variable",
        ),
    ],
)
def test_mistakes_are_told_by_name(run, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=r"[\s\S]") as caught:
        evaluate(run, f"--out={tmp_path}", *arguments)
    assert message in str(caught.value)


@pytest.mark.extra
def test_captions_may_be_scored_by_meteor(run, tmp_path):
    if lacking := meteor.missing():
        pytest.skip(lacking)
    home = tmp_path / "evals" / "captions"
    home.mkdir(parents=True)
    lines = []
    for n in range(4):
        (home / f"{n}.jpg").write_bytes(talking.image(n).data)
        lines.append(json.dumps({"image": f"{n}.jpg", "captions": ["a dog", "a cube"]}))
    (home / "captions.jsonl").write_text("\n".join(lines) + "\n")
    for more in ([], ["--meteor"]):
        program.main(["evaluate", f"--workdir={run}", f"--data={tmp_path}/evals",
                      "--tasks=captions", f"--out={tmp_path}/out", *more])  # fmt: skip
        home = tmp_path / "out" / "step_0"
        [found] = json.loads((home / "results.json").read_text())["runs"]
        assert ("METEOR" in found["figures"]) == bool(more)
    text = (home / "captions-0shot.jsonl").read_text()
    said = [json.loads(line)["parsed"] for line in text.splitlines()]
    whole = captions.with_meteor(said, [("a dog", "a cube")] * 4)
    assert found["figures"]["METEOR"]["value"] == whole["METEOR"].value


def test_without_java_meteor_is_refused_before_a_model_is_loaded(monkeypatch):
    monkeypatch.setattr(meteor.shutil, "which", lambda _: None)
    with pytest.raises(ValueError, match="--meteor: METEOR needs Java"):
        program.main(["evaluate", "--workdir=nowhere", "--tasks=captions",
                      "--data=nowhere", "--meteor"])  # fmt: skip


def test_missing_images_are_counted_before_a_model_is_loaded(run, tmp_path):
    home = tmp_path / "evals" / "vizwiz"
    (home / "val").mkdir(parents=True)
    rows = [{"image": f"{n}.jpg", "question": "a"} for n in range(3)]
    (home / "val.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r"3 of 3 images are missing, .*val.0\.jpg"):
        program.main(["evaluate", "--workdir=nowhere", "--tasks=vizwiz",
                      f"--data={tmp_path}/evals"])  # fmt: skip

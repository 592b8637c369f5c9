import collections
import json
import pathlib

import benchmark_files
import golden_files
import pytest

from mmjax.evals import postprocess, scoring, tasks
from mmjax.evals.example import Example, Output
from mmjax.evals.readers import texts, vqa


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("benchmarks")
    benchmark_files.build(root)
    return root


def perfect(task: str, example: Example) -> Output:
    """What a model gives that knows the answer."""
    entry = tasks.TASKS[task]
    if entry.mode != "generate":
        place = example.answer or 0
        logs = tuple(-1.0 - (i != place) for i in range(len(example.choices)))
        return Output(logprobs=logs, greedy=tuple(log == -1.0 for log in logs))
    if "box" in example.facts:
        return Output(str(list(example.facts["box"])))
    if example.answer is not None:
        return Output(chr(ord("A") + example.answer))
    return Output(example.references[0])


@pytest.mark.parametrize("task", tasks.TASKS)
def test_every_task_is_read_and_scores_a_perfect_model_best(task, built):
    examples = tasks.load(task, built / task)
    found = tasks.score(task, examples, [perfect(task, e) for e in examples])
    if task == "mme":
        assert found["count"].value == 200
    elif task in ("coco", "coco_official", "nocaps", "textcaps", "captions"):
        assert found["BLEU_1"].value == pytest.approx(1.0)
    elif task == "pope":
        assert found["accuracy"].value == 1.0
    else:
        assert found[tasks.TASKS[task].main].value == pytest.approx(1.0)
    assert tasks.TASKS[task].main in found


@pytest.mark.parametrize("task", tasks.TASKS)
def test_what_the_table_names_exists(task):
    entry = tasks.TASKS[task]
    assert set(entry.scorers) <= set(scoring.SCORERS)
    assert set(entry.steps) <= set(postprocess.STEPS)
    assert entry.mode in ("generate", "choices", "greedy")
    assert not entry.demos or entry.demos in entry.splits


@pytest.mark.parametrize("task", tasks.TASKS)
def test_a_missing_file_is_one_line_that_says_which_and_where(task, tmp_path):
    with pytest.raises(ValueError, match=r"put .* into") as found:
        tasks.load(task, tmp_path)
    assert str(tmp_path) in str(found.value)
    assert "\n" not in str(found.value)


def test_unknown_tasks_and_splits_are_named(tmp_path):
    with pytest.raises(ValueError, match="'coca' is none of arc_challenge"):
        tasks.load("coca", tmp_path)
    with pytest.raises(
        ValueError, match="coco has no split 'dev', only test, val, train"
    ):
        tasks.load("coco", tmp_path, "dev")


def test_packed_files_are_read_as_they_are(built, tmp_path):
    import gzip

    content = (built / "vizwiz/val.json").read_bytes()
    (tmp_path / "val.json.gz").write_bytes(gzip.compress(content))
    one = tasks.load("vizwiz", tmp_path)
    two = tasks.load("vizwiz", built / "vizwiz")
    assert one[0].references == two[0].references


@pytest.mark.parametrize(
    ("task", "name", "content", "message"),
    [
        (
            "pope",
            "coco_pope_random.json",
            '{"question_id": 1}\n',
            "record 0 has no 'label'",
        ),
        ("pope", "coco_pope_random.json", '{"question_id": \n', "line 1 is not JSON"),
        ("tallyqa", "test.json", "[3]", "record 0 is malformed"),
        ("textvqa", "TextVQA_0.5.1_val.json", "[]", "no field 'data' at its top"),
        ("textvqa", "TextVQA_0.5.1_val.json", "{", "is not JSON"),
        ("gqa", "testdev_balanced_questions.json", "[]", "no object of questions"),
        (
            "lambada",
            "lambada_test_en.jsonl",
            '{"text": "one"}',
            "record 0 is malformed",
        ),
        ("winogrande", "dev.jsonl", '{"sentence": "no gap"}', "record 0 is malformed"),
        (
            "mmbench",
            "mmbench_dev_20230712.tsv",
            "index\n1\n",
            "record 0 has no 'image'",
        ),
    ],
)
def test_a_malformed_record_is_one_line_that_names_file_and_record(
    task, name, content, message, tmp_path
):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as found:
        tasks.load(task, tmp_path)
    assert name in str(found.value)
    assert "\n" not in str(found.value)


def test_a_broken_parquet_is_one_line(tmp_path):
    path = tmp_path / "Art/validation-0.parquet"
    path.parent.mkdir()
    path.write_bytes(b"PAR1 no parquet")
    with pytest.raises(ValueError, match=r"validation-0.parquet can't be read"):
        tasks.load("mmmu", tmp_path)


def test_an_id_that_comes_twice_is_named(tmp_path):
    record = {"question_id": 1, "image": "x", "text": "t", "label": "no"}
    lines = (json.dumps(record) + "\n") * 2
    (tmp_path / "coco_pope_random.json").write_text(lines)
    with pytest.raises(ValueError, match="two examples have the id 1"):
        tasks.load("pope", tmp_path)


def test_secret_answers_are_read_but_not_scored(built):
    examples = tasks.load("vqav2", built / "vqav2", "test-dev")
    assert examples[0].references == ()
    with pytest.raises(ValueError, match="no example has a known answer"):
        tasks.score("vqav2", examples, [Output("dog")])


def test_readers_keep_what_their_scorers_need(built):
    [mmmu, free] = tasks.load("mmmu", built / "mmmu")
    assert mmmu.choices == ("p", "q")
    assert mmmu.images == (benchmark_files.png(2), benchmark_files.png(1))
    assert free.references == ("3", "three")
    [first, turned] = tasks.load("mmbench", built / "mmbench")
    assert first.question == "Which\nline?"
    assert first.facts["question"] == turned.facts["question"] == "241"
    [ref] = tasks.load("refcoco", built / "refcoco")
    assert ref.facts["box"] == (0.25, 0.2, 0.75, 0.6)
    [swag] = tasks.load("hellaswag", built / "hellaswag")
    assert swag.question == "Swim: A man. He. goes"
    assert swag.choices == ("in it.", "out.")
    [gap] = tasks.load("winogrande", built / "winogrande")
    assert gap.contexts == ("The cup fit as the cup", "The cup fit as the bag")
    assert set(gap.choices) == {"was small."}
    [web] = tasks.load("webqs", built / "webqs")
    assert web.references == ("Jazmyn Bieber", "Jaz")
    assert web.choices == ("Jaz",)  # the longer one begins with it
    coco = tasks.load("coco", built / "coco", "train")
    assert [e.id for e in coco] == ["0", "1"]  # restval is trained on
    assert coco[0].images == (str(built / "coco/val2014/0.jpg"),)


def test_images_are_found_from_a_relative_folder_too(built, monkeypatch):
    monkeypatch.chdir(built)
    [path] = tasks.load("mme", pathlib.Path("mme"))[0].images
    assert pathlib.Path(path).is_file()
    [path] = tasks.load("captions", pathlib.Path("captions"))[0].images
    assert path == "captions/images/1.jpg"


def test_refcoco_lines_and_parquet_give_the_box_of_the_coco_like_file(tmp_path):
    line = {"img_path": "z.jpg", "expression": "left", "height": 10, "width": 20}
    line["bbox"] = [5, 2, 15, 6]
    benchmark_files.write(tmp_path / "a/refcoco_val.jsonl", [line])
    row = {
        "question_id": "1",
        "answer": ["left", "near"],
        "bbox": [5.0, 2.0, 10.0, 4.0],
    }
    row["image"] = {"bytes": benchmark_files.png(20, 10), "path": None}
    benchmark_files.parquet(tmp_path / "b/data/val-0.parquet", [row])
    [one] = tasks.load("refcoco", tmp_path / "a")
    two = tasks.load("refcoco", tmp_path / "b")
    assert one.facts["box"] == two[0].facts["box"] == (0.25, 0.2, 0.75, 0.6)
    assert [e.question for e in two] == ["left", "near"]


def test_generations_are_cut_and_cleaned_before_they_are_scored(built):
    examples = tasks.load("vqav2", built / "vqav2")
    for said in ("dog\nQuestion: next", "dog. And", " dog Question", "dog, cat"):
        found = tasks.score("vqav2", examples, [Output(said)])
        assert found["vqa_official"].value == 1.0, said


def test_okvqa_scores_stems_and_raw_answers(built):
    examples = tasks.load("okvqa", built / "okvqa")
    found = tasks.score("okvqa", examples, [Output("riding")])
    assert found["vqa_always"].value == 1.0
    assert found["vqa_leaderboard_raw"].value == 1.0
    found = tasks.score("okvqa", examples, [Output("ride")])
    assert (found["vqa_always"].value, found["vqa_always_raw"].value) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("task", "folder", "split", "count", "answers"),
    [
        ("textvqa", "vqa", "val", 5000, 10),
        ("vizwiz", "vqa", "val", 4319, 10),
        ("pope", "vqa", "random", 3000, 1),
        ("pope", "vqa", "popular", 3000, 1),
        ("pope", "vqa", "adversarial", 3000, 1),
        ("vsr", "vqa", "random", None, 1),
        ("vsr", "vqa", "zeroshot", None, 1),
        ("captions", "captions/flickr8k_1000", "test", 1000, 5),
        ("arc_easy", "text_qa", "test", 500, 0),
        ("arc_challenge", "text_qa", "test", 300, 0),
    ],
)
def test_real_annotation_files_are_read_whole(
    real_data, task, folder, split, count, answers
):
    examples = tasks.load(task, real_data / folder, split)
    assert count is None or len(examples) == count
    assert len(examples) > 1000 or count
    assert {len(example.references) for example in examples} == {answers}
    if folder.startswith("captions"):
        assert all(pathlib.Path(e.images[0]).is_file() for e in examples)
    if folder == "text_qa":
        assert all(0 <= (e.answer or 0) < len(e.choices) for e in examples)


@pytest.mark.parametrize("task", ["textvqa", "vizwiz"])
def test_the_most_common_answer_scores_what_the_real_file_says(real_data, task):
    examples = tasks.load(task, real_data / "vqa", "val")
    said = [collections.Counter(e.references).most_common(1)[0] for e in examples]
    found = tasks.score(task, examples, [Output(text) for text, _ in said])
    # Without one answer, the others hold at most all who gave it, at least all but one.
    most = sum(min(1.0, count / 3) for _, count in said) / len(said)
    least = sum(min(1.0, (count - 1) / 3) for _, count in said) / len(said)
    for name in ("vqa_official", "vqa_leaderboard"):
        assert found[name].value > least - 0.01
    assert found["vqa_official"].value < most + 0.03  # answers that are one normalised
    wrong = tasks.score(task, examples, [Output("qqqq")] * len(examples))
    assert wrong["vqa_official"].value == wrong["vqa_leaderboard"].value == 0.0


def test_a_persons_captions_score_highly_on_the_real_file(real_data):
    examples = tasks.load("captions", real_data / "captions/flickr8k_1000", "test")
    others = [e._replace(references=e.references[1:]) for e in examples]
    own = [Output(e.references[0]) for e in examples]
    found = tasks.score("captions", others, own)
    exchanged = tasks.score("captions", others, own[1:] + own[:1])
    assert 0.5 < found["CIDEr"].value < 1.5
    assert exchanged["CIDEr"].value < 0.1
    whole = tasks.score("captions", examples, own)
    assert whole["BLEU_4"].value == pytest.approx(1.0)


def test_the_golden_questions_are_those_of_the_real_file(real_data, golden):
    [path] = sorted((real_data / "vqa").glob("textvqa_val.jsonl*"))
    read = {e.id: e for e in vqa.textvqa([path], "{}")}
    for item in golden_files.read(golden / "vqa/textvqa_val_1200.json.gz")["items"]:
        example = read[str(item["question_id"])]
        assert example.question == item["question"]
        assert list(example.references) == item["answers"]


def test_triviaqas_own_sample_is_right_by_its_own_answer(golden, tmp_path):
    content = golden_files.read(golden / "text/triviaqa_normaliser.json")
    path = tmp_path / "sample.json"
    path.write_text(json.dumps(content["official_sample"]))
    [example] = texts.triviaqa([path])
    [said] = content["official_sample_predictions"].values()
    found = tasks.score("triviaqa", [example], [Output(said)])
    assert found["exact_match_triviaqa"].value == found["f1_triviaqa"].value == 1.0


def test_rows_of_triviaqa_and_webqs_as_hugging_face_ships_them(tmp_path):
    row = {"question_id": "q", "question": "Q", "answer": {"value": "A b"}}
    row["answer"] |= {"aliases": ["A b", "AB"], "normalized_aliases": ["b", "ab"]}
    name = "rc.nocontext/validation-0.parquet"
    benchmark_files.parquet(tmp_path / name, [row])
    [example] = tasks.load("triviaqa", tmp_path)
    assert example.references == ("A b", "AB")
    rows = [{"question": "Q", "answers": ["AB", "A"], "url": "u"}]
    benchmark_files.parquet(tmp_path / "data/test-0.parquet", rows)
    [example] = tasks.load("webqs", tmp_path)
    assert example.choices == ("A",)

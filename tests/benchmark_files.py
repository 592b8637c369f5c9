"""Small files in the shapes in which the benchmarks' distributors ship them."""

import base64
import io
import json
import pathlib
from typing import Any

import pyarrow
import pyarrow.parquet
from PIL import Image


def write(path: pathlib.Path, content: Any) -> pathlib.Path:
    """Writes JSON, JSON lines (a list, by the name) or text; gives the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".jsonl" in path.name:
        content = "".join(json.dumps(record) + "\n" for record in content)
    elif not isinstance(content, str):
        content = json.dumps(content)
    path.write_text(content, encoding="utf-8")
    return path


def parquet(path: pathlib.Path, records: list[dict]) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    return path


def png(width: int = 4, height: int = 2) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 10, 10)).save(file, "PNG")
    return file.getvalue()


def answers(*said: str) -> list[dict]:
    return [
        {"answer": a, "answer_confidence": "yes", "answer_id": i}
        for i, a in enumerate(said, 1)
    ]


def _tens(*said: str) -> list[dict]:
    return answers(*(said * 10)[:10])


_COCO = {
    "images": [{"id": 7, "file_name": "COCO_val2014_000000000007.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 7, "caption": "A dog."},
        {"id": 2, "image_id": 7, "caption": "The dog."},
    ],
}
_QUESTIONS = {"questions": [{"question_id": 70, "image_id": 7, "question": "Who?"}]}
_ARC = {
    "id": "a1",
    "question": "Which?",
    "choices": {"text": ["p", "q"], "label": ["1", "2"]},
    "answerKey": "2",
}


def _karpathy(split: str, key: int) -> dict:
    return {
        "filepath": "val2014",
        "filename": f"{key}.jpg",
        "split": split,
        "cocoid": key,
        "sentences": [{"raw": "One."}, {"raw": "Two."}],
    }


def _said(**more) -> dict:
    record = {"question_id": 70, "image_id": 7, "answers": _tens("dog", "cat"), **more}
    return {"annotations": [record]}


def build(root: pathlib.Path) -> None:
    """A folder for each task of the table, with at least one example in it."""
    splits = ("train", "restval", "val", "test")
    images = [_karpathy(split, i) for i, split in enumerate(splits)]
    write(root / "coco/dataset_coco.json", {"images": images})
    write(root / "coco_official/captions_val2014.json", _COCO)
    nocaps = {**_COCO, "images": [{**_COCO["images"][0], "domain": "near-domain"}]}
    write(root / "nocaps/nocaps_val_4500_captions.json", nocaps)
    text = {
        "image_id": "ab",
        "caption_str": "x",
        "reference_strs": ["Sign.", "A sign."],
    }
    write(root / "textcaps/TextCaps_0.1_val.json", {"data": [text, text]})
    lines = [{"image": "images/1.jpg", "captions": ["A.", "B."]}]
    write(root / "captions/captions.jsonl", lines)
    _build_questions(root)
    _build_options(root)
    _build_texts(root)


def _build_questions(root: pathlib.Path) -> None:
    v2 = root / "vqav2"
    write(v2 / "v2_OpenEnded_mscoco_val2014_questions.json", _QUESTIONS)
    more = {"question_type": "who", "answer_type": "other"}
    write(v2 / "v2_mscoco_val2014_annotations.json", _said(**more))
    write(v2 / "v2_OpenEnded_mscoco_test-dev2015_questions.json", _QUESTIONS)
    ok = root / "okvqa"
    write(ok / "OpenEnded_mscoco_val2014_questions.json", _QUESTIONS)
    stemmed = [{**a, "raw_answer": "riding", "answer": "ride"} for a in _tens("x")]
    write(ok / "mscoco_val2014_annotations.json", _said(answers=stemmed))
    asked = {"image": "VizWiz_val_1.jpg", "question": "What?", "answers": _tens("can")}
    write(root / "vizwiz/val.json", [asked])
    asked = {
        "question_id": 3,
        "image_id": "ab",
        "question": "Say?",
        "answers": ["n"] * 10,
    }
    write(root / "textvqa/TextVQA_0.5.1_val.json", {"data": [asked]})
    gqa = {
        "question": "Is it?",
        "answer": "yes",
        "imageId": "n1",
        "isBalanced": True,
        "types": {"structural": "verify", "detailed": "existC"},
        "groups": {"global": None},
        "entailed": ["2"],
    }
    write(root / "gqa/testdev_balanced_questions.json", {"2": gqa})
    tally = {"image": "VG_100K/2.jpg", "question": "How many?", "answer": 2}
    tally |= {"question_id": 5, "issimple": True}
    write(root / "tallyqa/test.json", [tally])
    pope = {"question_id": 1, "image": "x.jpg", "text": "Is there?", "label": "no"}
    for kind in ("random", "popular", "adversarial"):  # lines, though they say .json
        write(root / f"pope/coco_pope_{kind}.json", json.dumps(pope) + "\n")
    folder = root / "mme/count"
    write(folder / "questions_answers_YN/1.txt", "Two?\tYes\nThree?\tNo\n")
    (folder / "images").mkdir()
    (folder / "images/1.png").write_bytes(png())
    vsr = {"image": "x.jpg", "caption": "It is on it.", "label": 1, "relation": "on"}
    write(root / "vsr/zeroshot/test.jsonl", [vsr, vsr])
    box = {
        "images": [
            {
                "id": 9,
                "file_name": "z.jpg",
                "height": 10,
                "width": 20,
                "caption": "left",
            }
        ],
        "annotations": [{"image_id": 9, "bbox": [5, 2, 10, 4]}],
    }
    for name in ("refcoco", "refcoco+", "refcocog"):
        write(root / f"{name}/finetune_{name}_val.json", box)


def _build_options(root: pathlib.Path) -> None:
    problems = {
        "1": {"question": "Q?", "choices": ["p", "q"], "answer": 1, "hint": "H."}
        | {"image": "image.png"},
        "2": {"question": "R?", "choices": ["p", "q"], "answer": 0, "image": None},
        "3": {"question": "S?", "choices": ["p", "q"], "answer": 0, "image": None},
    }
    write(root / "scienceqa/problems.json", problems)
    write(root / "scienceqa/pid_splits.json", {"test": ["1", "2"], "train": ["3"]})
    picture = base64.b64encode(png()).decode()
    head = "index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage"
    rows = [
        f'241\t"Which\nline?"\t\tp\tq\t\t\tA\tcolor\t{picture}',
        f'1000241\t"Which\nline?"\t\tq\tp\t\t\tB\tcolor\t{picture}',
    ]
    write(root / "mmbench/mmbench_dev_20230712.tsv", "\n".join([head, *rows]) + "\n")
    seed = {"question_id": "s1", "question": "Q?", "answer": "C", "data_id": "12_34"}
    seed |= {f"choice_{x}": x for x in "abcd"} | {"question_type_id": 1}
    questions = [
        seed | {"data_type": "image"},
        seed | {"data_type": "video", "question_id": "v1"},
    ]
    kinds = {"Scene Understanding": 1}
    content = {"questions": questions, "question_type": kinds}
    write(root / "seed/SEED-Bench.json", content)
    shown = {f"image_{i}": {"bytes": png(i), "path": None} for i in range(1, 4)}
    mmmu = [
        {"id": "validation_Art_1", "question": "See <image 2> and <image 1>."}
        | {"options": "['p', 'q']", "answer": "B", **shown},
        {"id": "validation_Art_2", "question": "How many in <image 1>?"}
        | {"options": "[]", "answer": "['3', 'three']", **shown},
    ]
    parquet(root / "mmmu/Art/validation-00000-of-00001.parquet", mmmu)


def _build_texts(root: pathlib.Path) -> None:
    parquet(root / "arc_easy/ARC-Easy/test-00000-of-00001.parquet", [_ARC])
    stem = {
        "stem": "Which?",
        "choices": [{"text": "p", "label": "A"}, {"text": "q", "label": "B"}],
    }
    ai2 = {"id": "a1", "question": stem, "answerKey": "B"}
    write(root / "arc_challenge/ARC-Challenge/ARC-Challenge-Test.jsonl", [ai2])
    write(root / "piqa/valid.jsonl", [{"goal": "G", "sol1": "p", "sol2": "q"}])
    write(root / "piqa/valid-labels.lst", "1\n")
    sciq = {"question": "Q?", "correct_answer": "q", "support": " S."}
    sciq |= {f"distractor{i}": "p" for i in (1, 2, 3)}
    write(root / "sciq/test.json", [sciq])
    swag = {"activity_label": "Swim", "ctx_a": "A man.", "ctx_b": "he [title] goes"}
    swag |= {"endings": ["in [x] it.", "out."], "label": 0}
    write(root / "hellaswag/hellaswag_val.jsonl", [swag])
    gap = {"qID": "g1", "sentence": "The cup fit as _ was small.", "answer": "1"}
    gap |= {"option1": "the cup", "option2": "the bag"}
    write(root / "winogrande/dev.jsonl", [gap])
    write(root / "lambada/lambada_test_en.jsonl", [{"text": "He said to the dog"}])
    trivia = {
        "QuestionId": "tc_33",
        "Question": "Which?",
        "Answer": {
            "Value": "Sunset Blvd",
            "Aliases": ["Sunset Blvd", "The Sunset"],
            "NormalizedAliases": ["sunset blvd", "sunset"],
        },
    }
    write(root / "triviaqa/qa/unfiltered-web-dev.json", {"Data": [trivia]})
    web = {
        "utterance": "who?",
        "targetValue": '(list (description "Jazmyn Bieber") (description Jaz))',
    }
    write(root / "webqs/webquestions.examples.test.json", [web])

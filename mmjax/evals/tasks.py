"""The table of tasks: files, reader, prompts, stops, post-processing and scorers.

A program that runs a model needs only this file: `load` a task's examples, give each a
prompt, hand the outputs to `score`, and take intervals from `bootstrap`.
"""

import functools
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from mmjax.evals import postprocess, scoring
from mmjax.evals.example import Example, Output
from mmjax.evals.metric import Metric
from mmjax.evals.prompts import LETTER, SHORT, Prompt
from mmjax.evals.readers import (
    boxes,
    captions,
    counting,
    files,
    gqa,
    option_letters,
    texts,
    vqa,
    yes_no,
)

Read = Callable[[list[pathlib.Path]], Iterable[Example]]


class Split(NamedTuple):
    """Where a split lies: its files, each by the names it may have, and their reader.

    Names are relative to the task's folder. A last name that is empty makes a file
    optional; a pattern stands for all files that match it.
    """

    files: tuple[tuple[str, ...], ...]
    read: Read


class Task(NamedTuple):
    """One benchmark."""

    splits: Mapping[str, Split]  # the first is the default
    prompt: Prompt  # for a pretrained model, MM1's where MM1 has the task
    scorers: tuple[str, ...]  # of `scoring.SCORERS`
    main: str  # the figure that is quoted
    mode: str = "generate"  # or "choices": by log-likelihood; "greedy": is it said
    instruct: Prompt | None = None  # for a model tuned on instructions, LLaVA's
    demos: str = ""  # the split that solved examples come from; "" the same one
    stops: tuple[str, ...] = ("\n",)
    steps: tuple[str, ...] = ("strip",)  # of `postprocess.STEPS`
    new_tokens: int = 16


def load(task: str, root: pathlib.Path, split: str = "") -> list[Example]:
    """The examples of a split (by default the task's first), in the files' order.

    Paths of images are joined to `root`. ValueError says which file to put where, or
    names the record that is malformed or the id that comes twice.
    """
    if task not in TASKS:
        raise ValueError(f"task {task!r} is none of {', '.join(sorted(TASKS))}")
    splits = TASKS[task].splits
    split = split or next(iter(splits))
    if split not in splits:
        raise ValueError(f"{task} has no split {split!r}, only {', '.join(splits)}")
    what = f"{task} ({split})"
    found = [files.find(root, names, what) for names in splits[split].files]
    examples = [
        _placed(example, root)
        for example in splits[split].read([path for paths in found for path in paths])
    ]
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise ValueError(f"{what}: two examples have the id {example.id}")
        seen.add(example.id)
    return examples


def score(
    task: str, examples: Sequence[Example], outputs: Sequence[Output]
) -> dict[str, Metric]:
    """The figures of a task from what a model gave for each example.

    Texts are post-processed here. Examples whose answer is secret are left out;
    ValueError if none is left.
    """
    pairs = [
        pair for pair in zip(examples, outputs, strict=True) if scoring.known(pair[0])
    ]
    if not pairs:
        raise ValueError(f"{task}: no example has a known answer; export the answers")
    told, given = zip(*pairs)
    return figures(TASKS[task], told, given)


def figures(
    task: Task, examples: Sequence[Example], outputs: Sequence[Output]
) -> dict[str, Metric]:
    """The figures of examples whose answers are known."""
    given = [_finished(output, task) for output in outputs]
    found: dict[str, Metric] = {}
    for name in task.scorers:
        found |= scoring.SCORERS[name](examples, given)
    return found


def _placed(example: Example, root: pathlib.Path) -> Example:
    images = (i if isinstance(i, bytes) else str(root / i) for i in example.images)
    return example._replace(images=tuple(images))


def _finished(output: Output, task: Task) -> Output:
    return output._replace(text=postprocess.apply(output.text, task.stops, task.steps))


def _split(read: Callable[..., Iterable[Example]], *names: str | tuple, **how) -> Split:
    """A split of files, each with one name or several."""
    listed = tuple((name,) if isinstance(name, str) else name for name in names)
    return Split(listed, functools.partial(read, **how) if how else read)


_CAPTION = Prompt("{images} A photo of")
_QUESTION = Prompt("{images} Question: {question} Short answer:")
_LETTERS = Prompt("{images} {hint}{question}\n{options}\nAnswer:", letters=True)
_ASKED_FOR_LETTER = Prompt(
    "{images}\n{hint}{question}\n{options}\n" + LETTER, "\n", True
)
_ASKED_FOR_SHORT = Prompt("{images}\n{question}\n" + SHORT)
_ASKED_FOR_CAPTION = Prompt(
    "{images}\nProvide a one-sentence caption for the provided image."
)
_VQA_STOPS = ("\n", ".", ",", "Question")  # MM1's
_CHOOSE = Prompt("Question: {question}\nAnswer:", "\n\n")

_captioning = functools.partial(
    Task,
    prompt=_CAPTION,
    scorers=("captions",),
    main="CIDEr",
    instruct=_ASKED_FOR_CAPTION,
    steps=("flamingo_caption", "strip"),
    new_tokens=32,
)
_answering = functools.partial(
    Task,
    prompt=_QUESTION,
    scorers=("vqa",),
    main="vqa_official",
    instruct=_ASKED_FOR_SHORT,
    stops=_VQA_STOPS,
    steps=("flamingo_vqa", "strip"),
)
_lettered = functools.partial(
    Task, prompt=_LETTERS, instruct=_ASKED_FOR_LETTER, main="accuracy"
)
_choosing = functools.partial(Task, scorers=("choices",), mode="choices")

_V2 = "v2_OpenEnded_mscoco_{}_questions.json"
_V2_SAID = "v2_mscoco_{}_annotations.json"
_OK = "OpenEnded_mscoco_{}_questions.json"
_OK_SAID = "mscoco_{}_annotations.json"
_VAL, _TRAIN = (
    "val2014/COCO_val2014_{:012d}.jpg",
    "train2014/COCO_train2014_{:012d}.jpg",
)
_TEST = "test2015/COCO_test2015_{:012d}.jpg"


def _coco_vqa(questions: str, said: str, year: str, picture: str) -> Split:
    names = [name.format(year) for name in (questions, said) if name]
    return _split(vqa.pair, *names, picture=picture)


def _karpathy(split: str) -> Split:
    splits = ("train", "restval") if split == "train" else (split,)
    return _split(captions.karpathy, "dataset_coco.json", picture="{}", splits=splits)


def _rows(read: Read, **names: tuple[str, ...]) -> dict[str, Split]:
    return {split: Split((name,), read) for split, name in names.items()}


def _pope(split: str) -> Split:
    name = f"coco_pope_{split}.json"
    names = (name, f"coco/{name}", name + "l", f"pope_coco_{split}.jsonl")
    return _split(yes_no.pope, names, picture="val2014/{}")


def _refcoco(name: str, splits: Sequence[str]) -> Task:
    def of(split: str) -> Split:
        names = (
            f"finetune_{name}_{split}.json",
            f"{name}_{split}.jsonl",
            f"data/{split}-*.parquet",
        )
        return _split(boxes.read, names, picture="train2014/{}")

    return Task(
        {split: of(split) for split in splits},
        Prompt('{images} Where is "{question}"? Box:'),
        ("boxes",),
        "acc@0.5",
        instruct=Prompt(
            "{images}\nProvide the bounding box coordinate of the region this sentence "
            "describes: {question}"
        ),
        demos="train" if "train" in splits else "",
        new_tokens=32,
    )


def _arc(name: str) -> Task:
    def files(split: str) -> tuple[str, ...]:
        title = {"validation": "Dev"}.get(split, split.capitalize())
        stem = name.replace("-", "_").lower()
        return (
            f"{name}/{split}-*.parquet",
            f"{name}/{name}-{title}.jsonl",
            f"{stem}_{split}*.jsonl",
        )

    listed = {split: files(split) for split in ("test", "validation", "train")}
    read = _rows(texts.arc, **listed)
    return _choosing(read, _CHOOSE, main="acc_norm", demos="train")


_PARQUET = "{}-*.parquet"

TASKS: dict[str, Task] = {
    # Captioning
    "coco": _captioning(
        {split: _karpathy(split) for split in ("test", "val", "train")}, demos="train"
    ),
    "coco_official": _captioning(
        {
            "val": _split(captions.coco, "captions_val2014.json", picture="val2014/{}"),
            "train": _split(
                captions.coco, "captions_train2014.json", picture="train2014/{}"
            ),
        },
        demos="train",
    ),
    "nocaps": _captioning(
        {
            "val": _split(
                captions.coco, "nocaps_val_4500_captions.json", picture="val/{}"
            ),
            "test": _split(
                captions.coco, "nocaps_test_image_info.json", picture="test/{}"
            ),
        },
        demos="val",
    ),
    "textcaps": _captioning(
        {
            split: _split(
                captions.textcaps,
                f"TextCaps_0.1_{split}.json",
                picture=f"{'test' if split == 'test' else 'train'}_images/{{}}.jpg",
            )
            for split in ("val", "train", "test")
        },
        demos="train",
    ),
    "captions": _captioning(
        {
            "test": _split(
                captions.lines,
                ("captions.jsonl", "coco_karpathy_test.json"),
                picture="{}",
            )
        }
    ),
    # Visual questions, open
    "vqav2": _answering(
        {
            "val": _coco_vqa(_V2, _V2_SAID, "val2014", _VAL),
            "test-dev": _coco_vqa(_V2, "", "test-dev2015", _TEST),
            "test": _coco_vqa(_V2, "", "test2015", _TEST),
            "train": _coco_vqa(_V2, _V2_SAID, "train2014", _TRAIN),
        },
        demos="train",
    ),
    "okvqa": _answering(
        {
            "val": _coco_vqa(_OK, _OK_SAID, "val2014", _VAL),
            "train": _coco_vqa(_OK, _OK_SAID, "train2014", _TRAIN),
        },
        scorers=("okvqa",),
        demos="train",
    ),
    "vizwiz": _answering(
        {
            split: _split(
                vqa.vizwiz,
                (f"{split}.json", f"Annotations/{split}.json", f"vizwiz_{split}.jsonl"),
                picture=f"{split}/{{}}",
            )
            for split in ("val", "test", "train")
        },
        demos="train",
    ),
    "textvqa": _answering(
        {
            split: _split(
                vqa.textvqa,
                (f"TextVQA_0.5.1_{split}.json", f"textvqa_{split}.jsonl"),
                picture=f"{'test' if split == 'test' else 'train'}_images/{{}}.jpg",
            )
            for split in ("val", "train", "test")
        },
        scorers=("vqa", "anls"),
        main="vqa_leaderboard",
        demos="train",
    ),
    "gqa": _answering(
        {
            split: _split(
                gqa.read,
                f"{name}_questions.json",
                (f"{name.split('_')[0]}_choices.json", ""),
                picture="images/{}.jpg",
            )
            for split, name in {
                "testdev": "testdev_balanced",
                "val": "val_balanced",
                "val_all": "val_all",
                "train": "train_balanced",
            }.items()
        },
        scorers=("gqa",),
        main="accuracy",
        demos="train",
        steps=("flamingo_vqa", "strip", "gqa"),
    ),
    "tallyqa": _answering(
        {
            split: _split(counting.read, f"{split}.json", picture="{}")
            for split in ("test", "train")
        },
        scorers=("counting",),
        main="accuracy",
        demos="train",
    ),
    # Yes or no
    "pope": _answering(
        {split: _pope(split) for split in ("random", "popular", "adversarial")},
        scorers=("pope",),
        main="f1",
        stops=("\n",),  # its parser looks for the full stop itself
        steps=("strip",),
    ),
    "mme": _answering(
        {
            "test": _split(
                yes_no.mme, ("*/questions_answers_YN/*.txt", "*/*.txt"), picture=""
            )
        },
        prompt=Prompt("{images} {question}"),
        instruct=Prompt("{images}\n{question}"),
        scorers=("mme",),
        main="perception",
        stops=("\n",),
        steps=("strip",),
    ),
    "vsr": _answering(
        {
            split: _split(
                yes_no.vsr,
                (
                    f"splits/{split}/test.jsonl",
                    f"{split}/test.jsonl",
                    f"vsr_{split}_test.jsonl",
                ),
                picture="images/{}",
            )
            for split in ("zeroshot", "random")
        },
        prompt=Prompt("{images} Question: Is it true: {question} Short answer:"),
        instruct=Prompt("{images}\nIs it true: {question}\nAnswer yes or no."),
        scorers=("vsr",),
        main="accuracy",
    ),
    # Letters of options
    "scienceqa": _lettered(
        {
            split: _split(
                option_letters.scienceqa,
                "problems.json",
                "pid_splits.json",
                picture=f"{split}/{{}}",
                split=split,
            )
            for split in ("test", "val", "train")
        },
        scorers=("only_letter",),
        demos="train",
    ),
    "mmbench": _lettered(
        {
            "dev": _split(
                option_letters.mmbench,
                ("mmbench_dev_20230712.tsv", "MMBench_DEV_EN*.tsv"),
                picture="",
            )
        },
        scorers=("mmbench",),
    ),
    "seed": _lettered(
        {
            "image": _split(
                option_letters.seed, "SEED-Bench.json", picture="SEED-Bench-image/{}"
            )
        },
        scorers=("first_letter",),
    ),
    "mmmu": _lettered(
        {
            split: _split(
                option_letters.mmmu,
                (f"*/{split}-*.parquet", f"{split}-*.parquet"),
                picture="",
            )
            for split in ("validation", "dev", "test")
        },
        scorers=("mmmu",),
        demos="dev",
    ),
    # Grounding
    "refcoco": _refcoco("refcoco", ("val", "testA", "testB", "train")),
    "refcoco+": _refcoco("refcoco+", ("val", "testA", "testB", "train")),
    "refcocog": _refcoco("refcocog", ("val", "test", "train")),
    # Text
    "arc_easy": _arc("ARC-Easy"),
    "arc_challenge": _arc("ARC-Challenge"),
    "piqa": _choosing(
        {
            "valid": _split(texts.piqa, "valid.jsonl", "valid-labels.lst"),
            "train": _split(texts.piqa, "train.jsonl", "train-labels.lst"),
        },
        _CHOOSE,
        main="acc_norm",
        demos="train",
    ),
    "sciq": _choosing(
        _rows(
            texts.sciq,
            test=("test.json", "data/test-*.parquet"),
            train=("train.json", "data/train-*.parquet"),
        ),
        Prompt("{hint}Question: {question}\nAnswer:", "\n\n"),
        main="acc",
        demos="train",
    ),
    "hellaswag": _choosing(
        _rows(
            texts.hellaswag,
            val=("hellaswag_val.jsonl", "data/validation-*.parquet"),
            train=("hellaswag_train.jsonl", "data/train-*.parquet"),
        ),
        Prompt("{question}", "\n\n"),
        main="acc_norm",
        demos="train",
    ),
    "winogrande": _choosing(
        _rows(
            texts.winogrande,
            dev=("dev.jsonl", "winogrande_xl/validation-*.parquet"),
            train=("train_xl.jsonl", "winogrande_xl/train-*.parquet"),
        ),
        Prompt("{question}", "\n\n"),
        main="acc",
        demos="train",
    ),
    "lambada": Task(
        _rows(texts.lambada, test=("lambada_test_en.jsonl", "lambada_test.jsonl")),
        Prompt("{question}", "\n\n"),
        ("greedy",),
        "acc",
        mode="greedy",
    ),
    "triviaqa": Task(
        _rows(
            texts.triviaqa,
            dev=("qa/unfiltered-web-dev.json", "rc.nocontext/validation-*.parquet"),
            train=("qa/unfiltered-web-train.json", "rc.nocontext/train-*.parquet"),
        ),
        Prompt("Question: {question}?\nAnswer:", "\n\n"),
        ("exact_match",),
        "exact_match_harness",
        demos="train",
        stops=("\n", ".", ","),
        new_tokens=32,
    ),
    "webqs": Task(
        _rows(
            texts.webqs,
            test=("webquestions.examples.test.json", "data/test-*.parquet"),
            train=("webquestions.examples.train.json", "data/train-*.parquet"),
        ),
        Prompt("Question: {question}\nAnswer:", "\n\n"),
        ("greedy",),
        "acc",
        mode="greedy",
        demos="train",
    ),
}

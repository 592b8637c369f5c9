"""Every variant of LLaVA's files, and what is refused, with the record's id."""

import json

import format_files
import pytest

from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.raw import Picture
from data_pipelines.records import Text

ASK, ANSWER = {"from": "human", "value": "What?"}, {"from": "gpt", "value": "A dog."}
TAGGED = {"from": "human", "value": "<image>\nWhat?"}
A, B = Picture(path="a.jpg"), Picture(path="b.jpg")
PLAIN = (Text("USER: What?\nASSISTANT:", False), Text(" A dog.", True))
WITH_A = (
    Text("USER:", False), A, Text("\nWhat?\nASSISTANT:", False), Text(" A dog.", True),
)  # fmt: skip


def _turns(*turns, **more):
    return {"id": "x1", "conversations": list(turns), **more}


def _one(tmp_path, record, settings=None):
    path = format_files.as_array(tmp_path / "a.json", [record], indent=2)
    (raw,), rejects = format_files.read(path, "llava", settings)
    (document,) = raw.documents
    return document, raw, rejects


ROWS = [
    (_turns(TAGGED, ANSWER, image="a.jpg"), WITH_A),
    (_turns(TAGGED, ANSWER, image=["a.jpg"]), WITH_A),
    (_turns(TAGGED, ANSWER, images=["a.jpg"]), WITH_A),
    (_turns(TAGGED, ANSWER, image={"path": "a.jpg"}), WITH_A),
    (_turns(ASK, ANSWER, image="a.jpg"), WITH_A),  # no tag: put before
    (_turns(ASK, ANSWER), PLAIN),
    (_turns(ASK, ANSWER, image=None), PLAIN),
    (_turns(ASK, ANSWER, image=float("nan")), PLAIN),
    (_turns(ASK, ANSWER, images=[]), PLAIN),
    (_turns({"from": "user", "value": "What?"},
            {"from": "assistant", "value": "A dog."}), PLAIN),
    (_turns({"role": "user", "content": "What?"},
            {"role": "assistant", "content": "A dog."}), PLAIN),
]  # fmt: skip


@pytest.mark.parametrize(("record", "expected"), ROWS)
def test_variants_of_a_row(tmp_path, record, expected):
    document, _, rejects = _one(tmp_path, record)
    assert document == expected
    assert not rejects


def test_lines_and_arrays_hold_the_same(tmp_path):
    records = [record for record, _ in ROWS]
    lines = format_files.as_lines(tmp_path / "a.jsonl", records)
    array = format_files.as_array(tmp_path / "b.json", records)
    from_lines, from_array = (
        [(r.number, r.documents) for r in format_files.read(path, "llava")[0]]
        for path in (lines, array)
    )
    assert from_lines == from_array
    assert len(from_lines) == len(records)


def test_tags_anywhere_take_pictures_in_order(tmp_path):
    record = _turns(
        {"from": "human", "value": "Look: <image>"},
        ANSWER,
        {"from": "human", "value": "And <image>, see?"},
        {"from": "gpt", "value": "Yes."},
        image=["a.jpg", "b.jpg"],
    )
    document, _, _ = _one(tmp_path, record)
    assert format_files.shown(document) == [
        "USER: Look: ", "<a.jpg>", "\nASSISTANT:", " A dog.", "\nUSER: And ",
        "<b.jpg>", ", see?\nASSISTANT:", " Yes.",
    ]  # fmt: skip


def test_a_system_is_a_turn_or_a_column(tmp_path):
    system = {"from": "system", "value": "Be brief."}
    for record in (
        _turns(system, ASK, ANSWER),
        _turns(ASK, ANSWER, system="Be brief."),
    ):
        document, raw, _ = _one(tmp_path, record)
        assert document == (PLAIN[0]._replace(text="Be brief.\n" + PLAIN[0].text),
                            PLAIN[1])  # fmt: skip
        assert raw.meta == {"id": "x1"}


def test_tools_are_context_and_their_calls_are_predicted(tmp_path):
    call = {"from": "function_call", "value": "look()"}
    seen = {"from": "observation", "value": "dog"}
    record = _turns(ASK, call, seen, ANSWER, tools="[]")
    document, raw, _ = _one(tmp_path, record)
    assert [(t.text, t.loss) for t in document] == [
        ("USER: What?\nASSISTANT:", False), (" look()", True),
        ("\nTOOL: dog\nASSISTANT:", False), (" A dog.", True),
    ]  # fmt: skip
    assert raw.meta == {"id": "x1", "tools": "[]"}


def test_an_answer_before_any_question_is_dropped_and_told(tmp_path):
    hello = {"from": "gpt", "value": "Hello."}
    document, _, rejects = _one(tmp_path, _turns(hello, ASK, ANSWER))
    assert document == PLAIN
    assert format_files.reasons(rejects) == [(1, "leading_answer", "first turn")]
    assert "id x1" in rejects[0].detail


def test_other_keys_are_kept(tmp_path):
    more = {
        "data_source": "llava_v1_5",
        "model": "",
        "metadata": {"w": 3},
        "score": 0.5,
    }
    _, raw, _ = _one(tmp_path, _turns(ASK, ANSWER, **more))
    expected = {"id": "x1", "data_source": "llava_v1_5", "metadata": {"w": 3}}
    assert raw.meta == expected | {"score": 0.5}
    assert raw.scores == {"id": "x1", "data_source": "llava_v1_5", "score": 0.5}


@pytest.mark.parametrize("key", ["picture", "images"])
def test_the_column_of_images_may_be_named(tmp_path, key):
    settings = Settings(image_key=key)
    record = _turns(TAGGED, ANSWER, **{"image": "thumbnail.jpg", key: "a.jpg"})
    document, _, _ = _one(tmp_path, record, settings)
    assert document == WITH_A


SURE = {"from": "gpt", "value": "Sure! <image>"}


@pytest.mark.parametrize(
    ("turns", "more", "expected"),
    [
        ((ASK, SURE), {"output_image": "b.jpg"},
         ["USER: What?\nASSISTANT:", " Sure! ", "<b.jpg>"]),
        ((ASK, ANSWER), {"output_image": "b.jpg"},
         ["USER: What?\nASSISTANT:", " A dog.", "<b.jpg>"]),
        ((ASK, SURE), {"input_image": "a.jpg", "output_image": "b.jpg"},
         ["USER:", "<a.jpg>", "\nWhat?\nASSISTANT:", " Sure! ", "<b.jpg>"]),
        ((TAGGED, SURE), {"input_image": "a.jpg", "output_image": "b.jpg"},
         ["USER:", "<a.jpg>", "\nWhat?\nASSISTANT:", " Sure! ", "<b.jpg>"]),
    ],
)  # fmt: skip
def test_pictures_that_an_assistant_shows(tmp_path, turns, more, expected):
    document, _, _ = _one(tmp_path, _turns(*turns, **more))
    assert format_files.shown(document) == expected


def test_a_row_of_next_gpt_shows_its_picture_and_keeps_what_else_it_says(tmp_path):
    more = {
        "output_image": "001312382.jpg",
        "image_captions": "a dog",
        "image_caption_embeddings": "001312382.jpg.npy",
    }
    document, raw, rejects = _one(tmp_path, _turns(ASK, SURE, **more))
    expected = ["USER: What?\nASSISTANT:", " Sure! ", "<001312382.jpg>"]
    assert format_files.shown(document) == expected
    del more["output_image"]
    assert raw.meta == {"id": "x1"} | more
    assert not rejects


def test_an_answer_that_is_marked_as_good_is_read(tmp_path):
    document, raw, _ = _one(tmp_path, _turns(ASK, ANSWER, kto_tag=True, label=3))
    assert document == PLAIN
    assert raw.meta == {"id": "x1", "kto_tag": True, "label": 3}


TWO_TAGS = {"from": "human", "value": "<image><image>"}
BAD = [
    (_turns(TWO_TAGS, ANSWER, image="a.jpg"), "too_many_tags"),
    (_turns(TAGGED, ANSWER), "too_many_tags"),
    (_turns(TAGGED, ANSWER, image=["a.jpg", "b.jpg"]), "too_few_tags"),
    (_turns(TAGGED, ANSWER, video="v.mp4"), "unsupported_media"),
    (_turns(TAGGED, ANSWER, video=["frames/"], image="a.jpg"), "unsupported_media"),
    (_turns(ASK, ANSWER, audios=["a.wav"]), "unsupported_media"),
    (_turns(ASK, ANSWER, output_video="v.mp4"), "unsupported_media"),
    (_turns(ASK, ANSWER, audio="a.wav"), "unsupported_media"),
    (_turns(ASK, ANSWER, input_video="v.mp4"), "unsupported_media"),
    (_turns(ASK, ANSWER, input_audio="a.wav"), "unsupported_media"),
    (_turns(ASK, ANSWER, output_audio="a.wav"), "unsupported_media"),
    # LLaMA-Factory's rows for DPO and KTO
    (_turns(ASK, ANSWER, ASK, chosen=ANSWER, rejected=ANSWER), "preferences"),
    (_turns(ASK, ANSWER, kto_tag=False), "preferences"),
    (_turns(ASK, ANSWER, label=False), "preferences"),
    (_turns(ASK, {"from": "robot", "value": "x"}), "unknown_role"),
    (_turns(ASK, {"from": "gpt", "value": None}), "missing_field"),
    (_turns(ASK, "A dog."), "missing_field"),
    (_turns(ASK, {"from": "gpt", "value": ""}), "empty_text"),
    (_turns(ASK), "empty_text"),
    (_turns(), "missing_field"),
    (_turns(TAGGED, ANSWER, image=[3]), "missing_field"),
    (_turns(ASK, {"from": "gpt", "value": "\udc80"}), "not_utf8"),
]


@pytest.mark.parametrize(("record", "reason"), BAD)
def test_what_cant_be_read_faithfully_is_left_out_with_its_id(tmp_path, record, reason):
    path = format_files.as_array(tmp_path / "a.json", [ROWS[0][0], record, ROWS[0][0]])
    raws, rejects = format_files.read(path, "llava")
    assert [raw.number for raw in raws] == [1, 3]
    assert format_files.reasons(rejects) == [(2, reason, "record")]
    assert rejects[0].detail.startswith("id x1: ")


def test_a_video_is_named_in_its_reject(tmp_path):
    record = _turns(ASK, ANSWER, video="clips/7.mp4")
    path = format_files.as_lines(tmp_path / "a.jsonl", [record])
    _, (reject,) = format_files.read(path, "llava")
    assert "video clips/7.mp4" in reject.detail


def test_only_leading_answers_are_no_conversation(tmp_path):
    path = format_files.as_lines(tmp_path / "a.jsonl", [_turns(ANSWER)])
    raws, rejects = format_files.read(path, "llava")
    assert not raws
    assert rejects[-1].reason == "empty_text"


def test_real_captions_as_instructions(real_data, tmp_path):
    source = real_data / "captions" / "flickr8k_1000" / "captions.jsonl"
    with source.open() as file:
        known = [json.loads(line) for line in file]
    ask = "<image>\nDescribe this photo."
    records = [
        {
            "id": number,
            "image": record["image"],
            "conversations": [
                turn
                for caption in record["captions"]
                for turn in (
                    {"from": "human", "value": ask},
                    {"from": "gpt", "value": caption},
                )
            ],
        }
        for number, record in enumerate(known)
    ]
    for record in records:  # one tag only, as LLaVA has it
        for turn in record["conversations"][2::2]:
            turn["value"] = "Again."
    path = format_files.as_array(tmp_path / "a.json", records)
    raws, rejects = format_files.read(path, "llava")
    assert not rejects
    for raw, record in zip(raws, known, strict=True):
        (document,) = raw.documents
        answers = [p.text for p in document if isinstance(p, Text) and p.loss]
        assert answers == [f" {caption.strip()}" for caption in record["captions"]]
        assert [p.path for p in document if isinstance(p, Picture)] == [record["image"]]
    lines = format_files.as_lines(tmp_path / "a.jsonl", records)
    whole = format_files.found(lines, "llava")
    assert [raw.documents for raw in whole] == [raw.documents for raw in raws]
    assert format_files.divided(lines, "llava", 10_000) == whole

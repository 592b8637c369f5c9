"""Conversations in tars are bound to the picture beside them."""

import json

import divided
from tar_files import write

from data_pipelines.prepare.formats import chat_tars, webdataset


def _said(question, answer="A dog."):
    turns = [("human", question), ("gpt", answer)]
    return [{"from": role, "value": text} for role, text in turns]


def test_a_json_may_be_the_conversation_or_hold_it(tmp_path, photos):
    members = [
        ("1.jpg", photos[0]), ("1.json", json.dumps(_said("<image>\nWhat?")).encode()),
        ("2.json", json.dumps({"id": "q", "conversations": _said("Hi")}).encode()),
        ("3.json", json.dumps(_said("no tag")).encode()), ("3.png", photos[1]),
        ("4.json", json.dumps(_said("<image>")).encode()),
        ("5.jpg", photos[2]),
    ]  # fmt: skip
    path = write(tmp_path / "pretrain-0.tar", members)
    raws, rejects = divided.of_file(chat_tars.FORMAT, path)
    assert [divided.shape(r.documents[0]) for r in raws] == [
        ["~USER:", photos[0], "~\nWhat?\nASSISTANT:", " A dog."],
        ["~USER: Hi\nASSISTANT:", " A dog."],
        ["~USER:", photos[1], "~\nno tag\nASSISTANT:", " A dog."],
    ]
    assert raws[1].scores == {"id": "q", "key": "2"}
    assert [(r.number, r.reason) for r in rejects] == [
        (4, "too_many_tags"), (5, "missing_field")
    ]  # fmt: skip
    assert not webdataset.FORMAT.sniff(path)

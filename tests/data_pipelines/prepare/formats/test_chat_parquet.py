"""Conversations in parquet bind their pictures to tags and parts."""

import importlib

import divided
import pytest

from data_pipelines.prepare.formats import cauldron, chat_parquet, registry

pa = pytest.importorskip("pyarrow")
pq = importlib.import_module("pyarrow.parquet")

ASKED = ["~\nWhat?\nASSISTANT:", " A dog."]


def _raws(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert not cauldron.FORMAT.sniff(path)
    return divided.of_file(chat_parquet.FORMAT, path)


def _said(question):
    turns = [("human", question), ("gpt", "A dog.")]
    return [{"from": role, "value": text} for role, text in turns]


def test_onevision_rows(tmp_path, photos):
    image = {"bytes": photos[0], "path": "a.jpg"}
    rows = [
        {"id": "1", "image": image, "conversations": _said("<image>\nWhat?"),
         "data_source": "clevr"},
        {"id": "2", "image": image, "conversations": _said("What?"),
         "data_source": "clevr"},
        {"id": "3", "image": None, "conversations": _said("What?"),
         "data_source": "text"},
        {"id": "4", "image": None, "conversations": _said("<image>What?"),
         "data_source": "text"},
    ]  # fmt: skip
    raws, rejects = _raws(tmp_path / "a.parquet", rows)
    shapes = [divided.shape(raw.documents[0]) for raw in raws]
    assert shapes[:2] == [["~USER:", photos[0], *ASKED]] * 2
    assert shapes[2] == ["~USER: What?\nASSISTANT:", " A dog."]
    assert raws[0].scores == {"id": "1", "data_source": "clevr"}
    assert [(r.number, r.reason) for r in rejects] == [(4, "too_many_tags")]
    assert rejects[0].detail.startswith("id 4:")


def test_messages_whose_parts_wait_for_the_rows_pictures(tmp_path, photos):
    content = [
        {"type": "image", "text": None, "index": 0},
        {"type": "text", "text": "\nWhat?", "index": None},
    ]
    answer = [{"type": "text", "text": "A dog.", "index": None}]
    messages = [
        {"role": "user", "content": content},
        {"role": "assistant", "content": answer},
    ]
    images = [{"bytes": photos[1], "path": None}]
    row = {"images": images, "messages": messages}
    (raw,), _ = _raws(tmp_path / "a.parquet", [row])
    assert divided.shape(raw.documents[0]) == ["~USER:", photos[1], *ASKED]


def test_prompt_and_completion_are_one_conversation(tmp_path, photos):
    row = {
        "image": {"bytes": photos[2], "path": None},
        "prompt": [{"role": "user", "content": "What?"}],
        "completion": [{"role": "assistant", "content": "A dog."}],
    }
    (raw,), _ = _raws(tmp_path / "a.parquet", [row])
    assert divided.shape(raw.documents[0]) == ["~USER:", photos[2], *ASKED]


def test_answers_that_are_compared_are_not_learned(tmp_path):
    """TRL's rows: unpaired ones with a label, and both answers of a prompt."""
    prompt = [{"role": "user", "content": "What?"}]
    answer = [{"role": "assistant", "content": "A dog."}]
    rows = [
        {"prompt": prompt, "completion": answer, "label": label}
        for label in (True, False)
    ]
    (raw,), (lost,) = _raws(tmp_path / "a.parquet", rows)
    assert raw.number == 1
    assert (lost.number, lost.reason) == (2, "preferences")
    pair = {"prompt": prompt, "chosen": answer, "rejected": answer}
    both = {"chosen": prompt + answer, "rejected": prompt + answer}
    for name, row in ("b", pair), ("c", both):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist([row]), path)
        with pytest.raises(ValueError, match="its first record fits none of"):
            registry.sniff(path, "instructions")

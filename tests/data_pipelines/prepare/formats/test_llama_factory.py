"""Datasets of LLaMA-Factory are read under the names that dataset_info.json says."""

import json

import format_files
import list_files
import pytest

from data_pipelines.prepare.formats import inputs
from data_pipelines.prepare.raw import Raw, Reject

SHARES = ["USER:", "<a.jpg>", "What?\nASSISTANT:", " A dog."]
ALPACA = ["USER: Add.\n1 2\nASSISTANT:", " 3"]


def _read(tmp_path, entry, *rows, name="d.json"):
    """What the dataset's rows give, and their rejects."""
    format_files.as_array(tmp_path / name, list(rows))
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps({"mine": {"file_name": name} | entry}))
    found = list_files.read(f"{path}#mine")
    raws = [raw for raw in found if isinstance(raw, Raw)]
    rejects = [one for one in found if isinstance(one, Reject)]
    return [format_files.shown(raw.documents[0]) for raw in raws], raws, rejects


def _chat(role="from", content="value", user="human", assistant="gpt"):
    return [{role: user, content: "<image>What?"}, {role: assistant, content: "A dog."}]


OPENAI_TAGS = {
    "role_tag": "role", "content_tag": "content", "user_tag": "user",
    "assistant_tag": "assistant",
}  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "row"),
    [
        ({"formatting": "sharegpt", "columns": {"images": "images"}},
         {"conversations": _chat(), "images": ["a.jpg"]}),
        ({"formatting": "sharegpt",
          "columns": {"messages": "messages", "images": "images"},
          "tags": OPENAI_TAGS},
         {"messages": _chat("role", "content", "user", "assistant"),
          "images": ["a.jpg"]}),
        ({"formatting": "openai",
          "columns": {"messages": "dialog", "images": "photos"}, "tags": OPENAI_TAGS},
         {"dialog": _chat("role", "content", "user", "assistant"),
          "photos": ["a.jpg"]}),
        ({"formatting": "sharegpt",
          "columns": {"messages": "dialog", "images": "photos"},
          "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "Q",
                   "assistant_tag": "A"}},
         {"dialog": _chat("who", "says", "Q", "A"), "photos": ["a.jpg"],
          "images": ["other.jpg"], "conversations": "other"}),
        ({"formatting": "openai", "columns": {"messages": "messages"},
          "tags": OPENAI_TAGS},
         {"messages": [{"role": "user", "content": [
              {"type": "image", "image": "a.jpg"}, {"type": "text", "text": "What?"}]},
              {"role": "assistant", "content": "A dog."}]}),
    ],
)  # fmt: skip
def test_conversations_under_any_names(tmp_path, entry, row):
    shown, (raw,), rejects = _read(tmp_path, entry, row | {"source": "s"})
    assert shown == [SHARES]
    assert not rejects
    assert raw.meta == {"source": "s"}


def test_tools_systems_and_roles_that_tags_name(tmp_path):
    tags = {
        "observation_tag": "saw", "function_tag": "call", "system_tag": "rule",
        "assistant_tag": "bot",
    }  # fmt: skip
    turns = [("rule", "S"), ("human", "Q"), ("call", "f()"), ("saw", "x"), ("bot", "A")]
    row = {"talk": [{"from": role, "value": text} for role, text in turns]}
    entry = {
        "formatting": "sharegpt", "tags": tags,
        "columns": {"messages": "talk", "system": "prompt", "tools": "tools"},
    }  # fmt: skip
    shown, (raw,), _ = _read(tmp_path, entry, row | {"tools": "[f]"})
    assert shown == [["S\nUSER: Q\nASSISTANT:", " f()", "\nTOOL: x\nASSISTANT:", " A"]]
    assert raw.meta == {"tools": "[f]"}
    shown, _, _ = _read(tmp_path, entry, {"talk": row["talk"][1:], "prompt": "S"})
    assert shown[0][0] == "S\nUSER: Q\nASSISTANT:"


@pytest.mark.parametrize(
    ("entry", "row", "expected"),
    [
        ({}, {"instruction": "Add.", "input": "1 2", "output": "3"}, ALPACA),
        ({"columns": {"prompt": "q", "query": "x", "response": "a"}},
         {"q": "Add.", "x": "1 2", "a": "3"}, ALPACA),
        ({"columns": {"prompt": "instruction", "response": "output"}},
         {"instruction": "Add.", "input": "left aside", "output": "3"},
         ["USER: Add.\nASSISTANT:", " 3"]),
        ({"columns": {"prompt": "q", "response": "a", "system": "s", "history": "h",
                      "images": "i"}},
         {"q": "<image>Add.", "a": "3", "s": "S", "h": [["Hi", "Ho"]], "i": ["a.jpg"]},
         ["S\nUSER: Hi\nASSISTANT:", " Ho", "\nUSER:", "<a.jpg>", "Add.\nASSISTANT:",
          " 3"]),
        ({"formatting": "alpaca"},
         {"instruction": "Add.", "input": "1 2", "output": "3",
          "images": ["not named.jpg"]}, ALPACA),
    ],
)  # fmt: skip
def test_alpaca_under_any_names(tmp_path, entry, row, expected):
    shown, _, rejects = _read(tmp_path, entry, row)
    assert shown == [expected]
    assert not rejects


def test_a_folder_of_lines_and_several_names(tmp_path):
    row = {"instruction": "Add.", "input": "1 2", "output": "3"}
    (tmp_path / "more").mkdir()
    for name in "ab":
        format_files.as_lines(tmp_path / "more" / f"{name}.jsonl", [row | {"id": name}])
    format_files.as_lines(tmp_path / "one.jsonl", [row | {"id": "one"}])
    path = tmp_path / "dataset_info.json"
    info = {"many": {"file_name": "more"}, "one": {"file_name": "one.jsonl"},
            "far": {"hf_hub_url": "a/b"}}  # fmt: skip
    path.write_text(json.dumps(info))
    assert list_files.ids(f"{path}#many") == ["a", "b"]
    assert list_files.ids(f"llama_factory:{path}#many,one") == ["a", "b", "one"]


def test_a_number_of_samples_is_drawn(tmp_path):
    row = {"instruction": "Add.", "input": "1 2", "output": "3"}
    entry = {"num_samples": 3}
    rows = [row | {"id": n} for n in range(9)]
    _, raws, _ = _read(tmp_path, entry, *rows)
    assert len(raws) == 3
    assert len(_read(tmp_path, {"num_samples": 99}, *rows)[1]) == 9


def test_pictures_lie_beside_the_list_or_where_the_user_says(tmp_path):
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps({"x": {"file_name": "d/x.json"}}))
    (tmp_path / "d").mkdir()
    format_files.as_array(tmp_path / "d" / "x.json", [{}])
    (beside,) = inputs.expand([f"{path}#x"], "", "instructions")
    assert (beside.folder, beside.format) == (str(tmp_path), "alpaca")
    (said,) = inputs.expand([f"{path}#x"], str(tmp_path / "d"), "instructions")
    assert said.folder == str(tmp_path / "d")


SHAREGPT = {"formatting": "sharegpt", "columns": {"messages": "talk"}}


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ({"conversations": _chat()}, "needs talk, a list of turns"),
        ({"talk": []}, "needs talk, a list of turns"),
        ({"talk": [{"from": "human"}]}, "talk: turn 1 needs value"),
        ({"talk": [{"from": "human", "value": "a"}, "b"]}, "talk: turn 2 needs from"),
        ({"talk": _chat(user="poet")}, "role 'poet': must be one of"),
        ({"talk": _chat()}, "1 <image> for 0 pictures"),
    ],
)
def test_rows_without_what_the_list_names_are_left_out(tmp_path, row, detail):
    _, raws, (reject,) = _read(tmp_path, SHAREGPT, row)
    assert not raws
    assert detail in reject.detail
    assert reject.lost == "record"


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ({"hf_hub_url": "a/b"}, "mine: hf_hub_url 'a/b' is not local: download it"),
        ({"script_url": "x"}, "script_url 'x' is not local"),
        ({"ranking": True}, "holds preferences: answers that are ranked"),
        ({"columns": {"kto_tag": "x"}}, "holds preferences"),
        ({"formatting": "chatml"}, "'chatml': must be one of alpaca, sharegpt, openai"),
        ({"columns": ["a"]}, "columns is missing or no mapping"),
        ({"columns": {"prompt": 3}}, "columns: prompt 3 must be a column's name"),
        ({"formatting": "sharegpt", "tags": {"user_tag": 3}}, "tags: user_tag 3 must"),
        ({"file_name": "no.json"}, "no.json: no such file"),
        ({"file_name": 3}, "file_name 3 must be a local path"),
        ({"file_name": "d.parquet"}, "d.parquet: must be .json or .jsonl"),
        ({"num_samples": 0}, "num_samples 0 must be a count"),
        ({"num_samples": "all"}, "num_samples 'all' must be a count"),
    ],
)
def test_a_dataset_that_cant_be_read_is_an_error_of_one_line(tmp_path, entry, rule):
    (tmp_path / "d.parquet").touch()
    with pytest.raises(ValueError, match=rule) as error:
        _read(tmp_path, entry, {})
    assert "dataset_info.json: mine: " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_list_without_names_tells_them(tmp_path):
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps({f"d{n}": {"file_name": "x"} for n in range(12)}))
    rule = r"dataset_info.json#NAME,NAME, of d0, d1, d10, .*, \.\.\.$"
    with pytest.raises(ValueError, match=rule):
        list_files.read(path)
    with pytest.raises(ValueError, match="has no dataset 'd99': must be of d0"):
        list_files.read(f"{path}#d99")
    path.write_text("{")
    with pytest.raises(ValueError, match="can't be read"):
        list_files.read(f"{path}#d1")

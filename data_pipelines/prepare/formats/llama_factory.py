"""LLaMA-Factory's dataset_info.json: files, and what they call their fields.

    NAME: {file_name: a.json, formatting: alpaca or sharegpt or openai,
           columns: {messages: dialog, images: photos}, tags: {role_tag: who}}

As there, a file of which columns are named has these and no others, and conversations
keep LLaVA's names where none are.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from data_pipelines.prepare.formats import json_records, listing, sampling
from data_pipelines.prepare.formats.base import Input
from data_pipelines.prepare.formats.sampling import Sampling
from data_pipelines.prepare.raw import Columns

NAME = "dataset_info.json"
_FORMATS = {"alpaca": "alpaca", "sharegpt": "llava", "openai": "chat"}  # and ours
# Columns by their name there: ours, and what the file calls it if nothing is said.
_ALPACA = {
    "prompt": ("instruction", "instruction"),
    "query": ("input", "input"),
    "response": ("output", "output"),
    "history": ("history", ""),
}
_COMMON = {"system": ("system", ""), "images": ("images", "")}
_TURNS = {"sharegpt": "conversations", "openai": "messages"}  # ours
_TURN = {"sharegpt": ("from", "value"), "openai": ("role", "content")}  # ours
_ROLES = {  # by the tag: our role, and the file's if nothing is said
    "user_tag": ("user", "human"),
    "assistant_tag": ("assistant", "gpt"),
    "observation_tag": ("observation", "observation"),
    "function_tag": ("function_call", "function_call"),
    "system_tag": ("system", "system"),
}
_FAR = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")


def sniff(values: Any) -> bool:
    """Whether a list's values are those of a dataset_info.json."""
    entries = list(values.values()) if isinstance(values, dict) else []
    keys = {"file_name", *_FAR}
    return bool(entries) and all(
        isinstance(one, dict) and keys & one.keys() for one in entries
    )


def members(path: pathlib.Path, names: list[str], folder: str) -> Iterator[Input]:
    """The files of the named datasets, with their formats."""
    known = listing.mapping(path, "the top level", listing.loaded(path))
    for name in listing.named(path, names, known):
        entry = listing.mapping(path, name, known[name])
        formatting = _checked(path, name, entry)
        columns = _columns(path, name, entry, formatting)
        for file in _files(path, name, entry):
            yield Input(
                str(file),
                _FORMATS[formatting],
                folder or str(path.parent),
                _sampling(path, name, entry),
                columns=columns,
            )


def _checked(path: pathlib.Path, name: str, entry: dict[str, Any]) -> str:
    """The dataset's formatting; ValueError for what can't be read as conversations."""
    for key in _FAR:
        if key in entry:
            rule = "is not local: download it, and name it by file_name"
            raise ValueError(f"{path}: {name}: {key} {entry[key]!r} {rule}")
    columns = listing.mapping(path, f"{name}: columns", entry.get("columns", {}))
    if entry.get("ranking") or {"chosen", "rejected", "kto_tag"} & columns.keys():
        rule = "answers that are ranked are no instructions to train on"
        raise ValueError(f"{path}: {name}: holds preferences: {rule}")
    formatting = entry.get("formatting", "alpaca")
    if formatting not in _FORMATS:
        rule = f"must be one of {', '.join(_FORMATS)}"
        raise ValueError(f"{path}: {name}: formatting {formatting!r}: {rule}")
    return formatting


def _files(path: pathlib.Path, name: str, entry: dict[str, Any]) -> list[pathlib.Path]:
    """The file, or those of the folder, that the dataset names."""
    file = listing.local(path, f"{name}: file_name", entry.get("file_name"))
    found = sorted(file.iterdir()) if file.is_dir() else [file]
    for one in found:
        if not one.is_file():
            raise ValueError(f"{path}: {name}: {one}: no such file")
        if not one.name.lower().endswith(json_records.SUFFIXES):
            raise ValueError(f"{path}: {name}: {one}: must be .json or .jsonl")
    if not found:
        raise ValueError(f"{path}: {name}: {file}: no file in this folder")
    return found


def _sampling(path: pathlib.Path, name: str, entry: dict[str, Any]) -> Sampling:
    count = entry.get("num_samples")
    if count is None:
        return sampling.ALL
    if type(count) is not int or count < 1:
        raise ValueError(f"{path}: {name}: num_samples {count!r} must be a count")
    return sampling.parse(f"random:{count}")


def _columns(
    path: pathlib.Path, name: str, entry: dict[str, Any], formatting: str
) -> Columns:
    given = _texts(path, name, "columns", entry)
    known = dict(_COMMON)
    if formatting == "alpaca":
        known |= _ALPACA
    else:
        ours = _TURNS[formatting]
        known["messages"] = (ours, "")
        given = {"messages": "conversations"} | given
    chosen = {
        our: given.get(key, "" if "columns" in entry else usual)
        for key, (our, usual) in known.items()
    }
    fields = tuple((their, our) for our, their in chosen.items() if their)
    if formatting == "alpaca":
        return Columns(fields)
    tags = _texts(path, name, "tags", entry)
    role, content = _TURN[formatting]
    turn = (
        (tags.get("role_tag", "from"), role),
        (
            tags.get("content_tag", "value"),
            content,
        ),
    )
    roles = {tags.get(tag, usual): our for tag, (our, usual) in _ROLES.items()}
    return Columns(fields, turn, tuple(roles.items()))


def _texts(
    path: pathlib.Path, name: str, key: str, entry: dict[str, Any]
) -> dict[str, str]:
    """The mapping of names to names, without those that say nothing."""
    values = listing.mapping(path, f"{name}: {key}", entry.get(key, {}))
    for inner, value in values.items():
        if value is not None and not isinstance(value, str):
            rule = "must be a column's name" if key == "columns" else "must be a text"
            raise ValueError(f"{path}: {name}: {key}: {inner} {value!r} {rule}")
    return {inner: value for inner, value in values.items() if value}

"""The examples of docs/formats.md are read as it says."""

import pathlib
import re

import format_files
import list_files
import pytest

from data_pipelines.prepare.formats import lists, patterns, registry
from data_pipelines.prepare.raw import Raw

ROOT = pathlib.Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (name, suffix, body)
    for name, section in SECTION.findall(PAGE)
    for suffix, body in BLOCK.findall(section)
    if name in registry.FORMATS
]
LISTS = {
    name: body
    for name, section in SECTION.findall(PAGE)
    for _, body in BLOCK.findall(section)
    if name in lists.LISTS
}
SAID = {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}
ROW = {"conversations": SAID}
# Files that the page's lists name, where their rows differ from LLaVA's.
ROWS = {
    "mllm_demo.json": {
        "dialog": [{"who": "user", "says": "<image>a"}, {"who": "bot", "says": "b"}],
        "photos": ["1.jpg"],
    },
    "alpaca_en.json": {"question": "a", "answer": "b", "before": [["c", "d"]]},
    "openai_demo.jsonl": {
        "messages": [{"role": "user", "content": "a"},
                     {"role": "assistant", "content": "b"}]
    },
}  # fmt: skip
# Names that are wanted, and how many records are read of 20 in each file.
READ = {
    "llava_mixture": ("", 10 + 2 * 20 + 4 + 20),
    "vila": ("#llava_instruct,sqa", 2 * 20),
    "llama_factory": ("#mllm_demo,alpaca_en,openai_demo", 3 * 20),
}


@pytest.mark.parametrize(("name", "suffix", "body"), EXAMPLES)
def test_an_example_is_of_its_format(tmp_path, name, suffix, body):
    path = tmp_path / f"a.{suffix}"
    path.write_text(body)
    (corpus,) = [c for c, names in registry.CORPORA.items() if name in names]
    assert registry.sniff(path, corpus) == name
    raws, rejects = format_files.read(path, name)
    records = body.count("\n") - ("sv" in suffix) if suffix != "json" else 1
    assert len(raws) == records
    assert not rejects


@pytest.mark.parametrize("name", LISTS)
def test_a_list_leads_to_its_files(tmp_path, name):
    path = tmp_path / {"llama_factory": "dataset_info.json"}.get(name, "a.yaml")
    path.write_text(LISTS[name])
    (tmp_path / "images").mkdir()
    for pattern in re.findall(r"[\w/{},]+\.jsonl?\b", LISTS[name]):
        for file in map(pathlib.Path, patterns.braces(pattern)):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            rows = [ROWS.get(file.name, ROW) | {"id": n} for n in range(20)]
            write = (
                format_files.as_lines
                if file.suffix == ".jsonl"
                else format_files.as_array
            )
            write(tmp_path / file, rows)
    names, count = READ[name]
    found = list_files.read(f"{path}{names}")
    assert all(isinstance(one, Raw) for one in found)
    assert len(found) == count


def test_every_format_and_list_is_told():
    names = [*registry.FORMATS, *lists.LISTS]
    assert [name for name in names if f"`{name}`" not in PAGE] == []
    assert LISTS.keys() == READ.keys() == lists.LISTS.keys()

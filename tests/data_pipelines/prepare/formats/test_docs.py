"""The examples of docs/formats.md are read as it says."""

import pathlib
import re

import format_files
import pytest

from data_pipelines.prepare.formats import registry

ROOT = pathlib.Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (name, suffix, body)
    for name, section in SECTION.findall(PAGE)
    for suffix, body in BLOCK.findall(section)
]


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


def test_every_format_is_told():
    assert [name for name in registry.FORMATS if f"`{name}`" not in PAGE] == []

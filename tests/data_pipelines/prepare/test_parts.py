"""A part is there whole or not at all, and says what became of what was read."""

import os
import pathlib

import pytest
import raw_corpora

from data_pipelines.prepare import convert, parts
from data_pipelines.prepare.filters import captions as caption_rules
from data_pipelines.prepare.formats import registry
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.recipe import Recipe

RECIPE = Recipe(heldout=0.3, near_duplicates=True)


@pytest.fixture
def corpora(tmp_path):
    return raw_corpora.write(tmp_path / "raw")


def _job(corpora, corpus, folder, recipe=RECIPE):
    (file,) = raw_corpora.inputs(corpora)[corpus]
    form = registry.FORMATS[file.format]
    (unit,) = form.units(pathlib.Path(file.file), file.folder)
    return parts.job(corpus, unit, recipe, folder)


def test_a_part_gives_back_what_was_converted(corpora, tmp_path):
    job = _job(corpora, "interleaved", tmp_path / "parts")
    where = parts.make(job)
    form = registry.FORMATS[job.unit.format]
    raws = form.read(job.unit, Settings())
    found = [one for raw in raws for one in convert.documents(raw, job.corpus, RECIPE)]
    kept = [one for one in found if isinstance(one, convert.Kept)]
    rebuilt = [
        one._replace(traits=traits)
        for one, (_, traits) in zip(parts.read(where), parts.traits(where), strict=True)
    ]
    assert rebuilt == kept
    assert [key for key, _ in parts.traits(where)] == [one.key for one in kept]
    assert parts.rejects(where) == [one for one in found if one not in kept]


def test_what_was_read_is_what_was_kept_and_lost(corpora, tmp_path):
    rules = RECIPE._replace(captions=caption_rules.DEFAULT._replace(min_words=4))
    facts = parts.facts(parts.make(_job(corpora, "captions", tmp_path, rules)))
    assert facts.read == {"records": 15, "documents": 28, "images": 28}
    assert facts.lost == {"missing_image": 4}
    assert sum(facts.records.values()) == 24
    stricter = rules._replace(captions=caption_rules.DEFAULT._replace(min_words=5))
    facts = parts.facts(parts.make(_job(corpora, "captions", tmp_path, stricter)))
    assert facts.read["documents"] == 28
    assert facts.lost == {"missing_image": 4, "caption_words": 24}
    assert facts.records == {}


def test_a_part_that_is_done_is_not_made_again(corpora, tmp_path):
    job = _job(corpora, "captions", tmp_path / "parts")
    parts.make(job)
    first = {p: p.stat().st_mtime_ns for p in (tmp_path / "parts").iterdir()}
    parts.make(job)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "parts").iterdir()} == first


def test_without_its_facts_a_part_is_not_done_and_made_again(corpora, tmp_path):
    job = _job(corpora, "captions", tmp_path / "parts")
    where = parts.make(job)
    before = raw_corpora.digests(tmp_path / "parts")
    (facts,) = (tmp_path / "parts").glob("*.facts.json")
    facts.unlink()
    assert not parts.done(where)
    with pytest.raises(RuntimeError, match="ended without this part"):
        parts.require_done(where)
    parts.make(job)
    assert raw_corpora.digests(tmp_path / "parts") == before


def test_a_changed_file_or_recipe_is_another_part(corpora, tmp_path):
    name = _job(corpora, "text", tmp_path).name
    assert _job(corpora, "text", tmp_path).name == name
    assert _job(corpora, "text", tmp_path, Recipe(heldout=0.31)).name != name
    path = pathlib.Path(corpora["text"][0])
    os.utime(path, ns=(1, 1))
    assert _job(corpora, "text", tmp_path).name != name


def test_a_unit_that_cant_be_read_tells_why_until_it_can(corpora, tmp_path):
    recipe = Recipe(Settings(missing_image="error"))
    where = parts.make(_job(corpora, "captions", tmp_path / "parts", recipe))
    assert not parts.done(where)
    with pytest.raises(ValueError, match=r"c.jsonl: record 13: missing_image"):
        parts.require_done(where)
    raw = pathlib.Path(corpora["captions"][0]).parent
    for number in (12, 13):
        (raw / f"{number}.jpg").write_bytes(raw_corpora.noise(number))
    parts.make(_job(corpora, "captions", tmp_path / "parts", recipe))
    parts.require_done(where)
    assert not list((tmp_path / "parts").glob("*.error"))


def test_rejects_are_sorted_whatever_cost_them(corpora, tmp_path):
    where = parts.make(_job(corpora, "captions", tmp_path))
    other = parts.rejects(where)[0]._replace(number=2, reason="near", lost="document")
    image = other._replace(number=1, reason="image", lost="image")
    parts.write_dropped(where, [other, image])
    numbers = [reject.number for reject in parts.rejects(where)]
    assert numbers == [1, 2, 13, 14, 15]
    assert parts.dropped(where) == {"near": 1}
    parts.write_dropped(where, [])
    assert parts.dropped(where) == {}

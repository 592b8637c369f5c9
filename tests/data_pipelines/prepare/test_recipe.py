"""A recipe is told apart from others, and told to others."""

import json

import pytest
import raw_corpora

from data_pipelines.prepare import recipe as recipes
from data_pipelines.prepare.filters import captions, pages, pictures, quality, scores
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.recipe import Recipe

FULL = Recipe(
    pictures=pictures.MM1,
    captions=captions.DEFAULT,
    pages=pages.MM1,
    texts=quality.C4,
    bad_words=("drat",),
    languages=("de", "en"),
    scores=(scores.parse("similarity>=0.28"),),
    near_duplicates=True,
)
CHANGES = [
    {"settings": Settings(text_key="alt")},
    {"settings": Settings(synthetic_key="better")},
    {"max_side": 449},
    {"heldout": 0.03},
    {"pictures": pictures.MM1._replace(min_side=101)},
    {"captions": None},
    {"pages": pages.MM1._replace(max_appearances=11)},
    {"texts": quality.GOPHER},
    {"bad_words": ("drat", "heck")},
    {"languages": ("en",)},
    {"scores": (scores.parse("similarity>=0.29"),)},
    {"missing_scores": "drop"},
    {"near_duplicates": False},
    {"evaluations_digest": "other"},
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_another_recipe(change):
    assert recipes.digest(FULL._replace(**change)) != recipes.digest(FULL)
    told = recipes.described(FULL._replace(**change))
    assert told != recipes.described(FULL)


def test_where_the_index_of_evaluations_lies_does_not_matter():
    moved = FULL._replace(evaluations="elsewhere")
    assert recipes.digest(moved) == recipes.digest(FULL)
    assert recipes.described(moved) == recipes.described(FULL)


def test_a_recipe_is_told_in_strict_json_with_every_rule():
    def refuse(name):
        raise AssertionError(name)

    told = json.loads(
        json.dumps(recipes.described(FULL), allow_nan=False), parse_constant=refuse
    )
    assert told["texts"]["sentences"] == [5, None]
    assert told["pages"] == pages.MM1._asdict()
    assert told["scores"] == ["similarity>=0.28"]
    assert told["settings"]["missing_image"] == "text_only"
    assert told["texts"].keys() == quality.C4._asdict().keys()
    assert recipes.described(Recipe())["texts"] is None


FLAGS = [
    ((), {"pictures": None, "texts": None, "near_duplicates": False}),
    (("--all_filters",), {"near_duplicates": True}),
    (("--all_filters", "--nonear_duplicates", "--text_rules=off"),
     {"near_duplicates": False, "texts": None}),
    (("--text_rules=c4",), {"pictures": None, "captions": None}),
    (("--heldout=0.5", "--max_side=99"), {"heldout": 0.5, "max_side": 99}),
    (("--score=similarity>=0.3", "--score=LANGUAGE==en", "--missing_scores=drop"),
     {"scores": ["similarity>=0.3", "LANGUAGE==en"], "missing_scores": "drop"}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.extra
@pytest.mark.parametrize(("given", "expected"), FLAGS)
def test_flags_are_the_recipe_of_the_manifest(tmp_path, given, expected):
    pytest.importorskip("apache_beam")
    path = tmp_path / "t.jsonl"
    lines = [json.dumps({"text": raw_corpora.prose(n) * 8}) for n in range(9)]
    path.write_text("\n".join(lines))
    files, output = {"text": [str(path)]}, tmp_path / "out"
    done = raw_corpora.run(raw_corpora.command(files, output, *given))
    if "not one document" in done.stderr:
        folder = output.with_name("out.unfinished") / "result"
    else:
        assert done.returncode == 0, done.stderr
        folder = output
    manifest = json.loads((folder / "text" / "train" / "manifest.json").read_text())
    told = manifest["extra"]["recipe"]
    assert {name: told[name] for name in expected} == expected
    all_on = given[:1] == ("--all_filters",)
    assert (told["pictures"] is not None) == (told["pages"] is not None) == all_on


REFUSED = [
    ("--score=similarity", "condition 'similarity': must be a column"),
    ("--languages=xx", "languages to keep: xx"),
    ("--bad_words=absent.txt", "list of words absent.txt"),
    ("--heldout=2", "heldout"),
    ("--missing_image=maybe", "missing_image"),
]


@pytest.mark.parametrize(("flag", "words"), REFUSED)
def test_what_a_flag_cant_be_is_told(tmp_path, flag, words):
    if "languages" in flag:
        pytest.importorskip("py3langid")
    (tmp_path / "t.txt").write_text("text")
    files = {"text": [str(tmp_path / "t.txt")]}
    done = raw_corpora.run(raw_corpora.command(files, tmp_path / "out", flag))
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr

"""The stages on Beam: the same bytes whatever runs them, and every document placed."""

import collections
import importlib.util
import json
import pathlib

import pytest
import raw_corpora

pytest.importorskip("apache_beam")

from data_pipelines import shards
from data_pipelines.prepare import corpus, dedupe, telling
from data_pipelines.prepare.filters import pages as page_rules
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.recipe import SPLITS, Recipe
from data_pipelines.shard_reader import ShardReader

pytestmark = pytest.mark.extra

RECIPE = Recipe(
    settings=Settings(text_split="blank_line"),
    heldout=0.3,
    pages=page_rules.MM1._replace(min_pictures=0),
    near_duplicates=True,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Small corpora with something bad in each."""
    return raw_corpora.write(tmp_path_factory.mktemp("own"))


def _prepare(files, output, **changes):
    request = raw_corpora.request(files, output, recipe=RECIPE, shards=2, **changes)
    return corpus.prepare(request, raw_corpora.quiet)


@pytest.fixture(scope="module")
def made(files, tmp_path_factory):
    output = tmp_path_factory.mktemp("made") / "out"
    _prepare(files, output)
    return output


def test_every_good_document_is_in_a_shard_and_duplicates_are_counted(made):
    manifests = {
        f"{corpus}/{split}": shards.read_manifest(made / corpus / split)
        for corpus in ("captions", "interleaved", "text")
        for split in SPLITS
    }
    count = {name: manifest["records"] for name, manifest in manifests.items()}
    assert count["captions/train"] + count["captions/heldout"] == 24
    assert count["interleaved/train"] + count["interleaved/heldout"] == 13
    assert count["text/train"] + count["text/heldout"] == 2
    assert sum(m["duplicates"] for m in manifests.values()) == 1
    assert 0 < count["captions/heldout"] < 12
    for name, manifest in manifests.items():
        assert len(manifest["shards"]) == 2
        assert len(ShardReader(made / name)) == manifest["records"]


def test_every_reject_is_listed_where_it_stands(made):
    found = raw_corpora.listed(made)
    listed = [(pathlib.Path(r["file"]).name, r["number"], r["reason"]) for r in found]
    assert listed == [
        ("c.jsonl", 13, "missing_image"),
        ("c.jsonl", 14, "missing_image"),
        ("c.jsonl", 15, "malformed_json"),
        ("i.jsonl", 13, "missing_image"),
        ("t.txt", 5, "not_utf8"),
    ]
    assert [r["lost"] for r in found] == ["record", "record", "record", "image", "line"]


def test_files_in_another_order_give_the_same_bytes(files, made, tmp_path):
    _prepare(dict(reversed(files.items())), tmp_path / "out")
    assert raw_corpora.digests(tmp_path / "out") == raw_corpora.digests(made)


def test_processes_give_the_same_bytes_as_one(files, made, tmp_path):
    _prepare(files, tmp_path / "out", workers=2)
    assert raw_corpora.digests(tmp_path / "out") == raw_corpora.digests(made)


@pytest.mark.slow
def test_dask_gives_the_same_bytes_from_the_command_line(files, made, tmp_path):
    if not importlib.util.find_spec("distributed"):
        pytest.skip("needs dask: pip install 'apache-beam[dask]'")
    output = tmp_path / "out"
    flags = (
        "--runner=DaskRunner", "--near_duplicates", "--page_rules", "--shards=2",
        "--heldout=0.3", "--text_split=blank_line",
    )  # fmt: skip
    same = [flag for flag in flags if "runner" not in flag]
    done = raw_corpora.run(raw_corpora.command(files, output, *flags), timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    direct = tmp_path / "direct"
    done = raw_corpora.run(raw_corpora.command(files, direct, *same), timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert raw_corpora.digests(output) == raw_corpora.digests(direct)


@pytest.mark.parametrize("losses", [1, 2, 99])
def test_documents_that_the_runner_loses_are_missed(
    files, made, tmp_path, monkeypatch, losses
):
    """A runner of processes was seen to lose the last documents of a worker."""
    write, times = shards.write_shard, collections.Counter()

    def losing(directory, number, total, keyed):
        pairs = list(keyed)
        times[directory, number] += 1
        if len(pairs) > 3 and times[directory, number] <= losses:
            pairs = pairs[:-2]
        return write(directory, number, total, pairs)

    monkeypatch.setattr(shards, "write_shard", losing)
    said = []
    request = raw_corpora.request(files, tmp_path / "out", recipe=RECIPE, shards=2)
    if losses == 99:
        with pytest.raises(ValueError, match=r"shards lack documents, .* lost 3 times"):
            corpus.prepare(request, said.append)
        assert not (tmp_path / "out").exists()
        monkeypatch.undo()
    corpus.prepare(request, said.append)
    assert raw_corpora.digests(tmp_path / "out") == raw_corpora.digests(made)
    lines = [line for line in said if "the runner lost documents" in line]
    assert len(lines) == min(losses, 3)
    assert " documents of " in lines[0]


@pytest.mark.parametrize("losses", [1, 99])
def test_keys_that_the_runner_loses_are_missed(
    files, made, tmp_path, monkeypatch, losses
):
    """Documents whose keys are lost would stay, though others are near."""
    compare, times = dedupe.compare, collections.Counter()

    def losing(group, recipe):
        values = list(group[1])
        times[group[0]] += 1
        kept = values[1:] if times[group[0]] <= losses else values
        return compare((group[0], kept), recipe)

    monkeypatch.setattr(dedupe, "compare", losing)
    said = []
    request = raw_corpora.request(files, tmp_path / "out", recipe=RECIPE, shards=2)
    if losses == 99:
        with pytest.raises(ValueError, match=r"some of what is compared 3 times"):
            corpus.prepare(request, said.append)
        assert not (tmp_path / "out").exists()
        monkeypatch.undo()
    corpus.prepare(request, said.append)
    assert raw_corpora.digests(tmp_path / "out") == raw_corpora.digests(made)
    lines = [line for line in said if "lost some of what is compared" in line]
    assert len(lines) == min(losses, 3)


def test_a_run_without_a_reject_has_an_empty_list(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "good"}\n{"text": "better"}\n' * 40)
    _prepare({"text": [str(tmp_path / "t.jsonl")]}, tmp_path / "out")
    assert (tmp_path / "out" / telling.REJECTS).read_text() == ""


def test_what_other_documents_cost_is_found_and_adds_up(tmp_path):
    """A near duplicate in another file, and an image that is on all twelve pages."""
    for number in range(13):
        (tmp_path / f"{number}.jpg").write_bytes(raw_corpora.noise(number))
    pages = [
        {"texts": [raw_corpora.prose(n), None, "mid", None],
         "images": [None, "0.jpg", None, f"{n}.jpg"]}
        for n in range(1, 13)
    ]  # fmt: skip
    (tmp_path / "i.jsonl").write_text("\n".join(map(json.dumps, pages)))
    texts = [raw_corpora.prose(n, 200) for n in range(20)]
    for name, more in (("a", ""), ("b", " And so on.")):
        lines = [json.dumps({"text": text + more}) for text in texts]
        (tmp_path / f"{name}.jsonl").write_text(
            "\n".join(lines[: 20 - 5 * len(more[:1])])
        )
    files = {
        "interleaved": [str(tmp_path / "i.jsonl")],
        "text": [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")],
    }
    _prepare(files, tmp_path / "out")
    found = collections.Counter(
        (r["reason"], r["lost"]) for r in raw_corpora.listed(tmp_path / "out")
    )
    assert found == {
        ("image_appearances", "image"): 12,
        ("near_duplicate", "document"): 15,
    }
    expected = {"interleaved": (12, {}), "text": (35, {"near_duplicate": 15})}
    for name, (read, lost) in expected.items():
        manifests = [
            shards.read_manifest(tmp_path / "out" / name / split) for split in SPLITS
        ]
        assert manifests[0]["extra"]["read"]["documents"] == read
        assert manifests[0]["extra"]["lost"] == lost
        assert sum(m["records"] for m in manifests) == read - sum(lost.values())
        images = sum(m["images"] for m in manifests)
        assert images == (12 if name == "interleaved" else 0)


def test_facts_of_shards_go_with_the_unfinished_folder(made):
    names = {path.name for path in made.rglob("*")}
    assert not [name for name in names if name.endswith((".json", ".part"))
                and name != shards.MANIFEST]  # fmt: skip
    assert not list(made.parent.glob("*.unfinished"))
    json.loads((made / "text" / "train" / shards.MANIFEST).read_text())

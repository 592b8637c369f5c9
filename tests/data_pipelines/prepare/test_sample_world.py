"""The sample world in a folder: made once, the same everywhere, nobody else's."""

import concurrent.futures
import dataclasses
import hashlib
import json
import pathlib

import pytest

from data_pipelines import index, shards, tokenizer
from data_pipelines.prepare import documents, sample_world
from mmjax import config as config_lib

SPEC = config_lib.SampleWorld(
    enabled=True, captions=60, interleaved=40, texts=40, heldout=8, questions=8
)


def _bytes(root: pathlib.Path) -> dict[str, str]:
    """Digest of every file but the lock."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("worlds") / "new" / "world"
    return sample_world.ensure(folder, SPEC, progress=False)


def test_the_folder_is_laid_out_as_any_prepared_corpus(root):
    words = tokenizer.open(root / "tokenizer.model")
    expected = {
        "captions/train": 60, "interleaved/train": 40, "text/train": 40,
        "captions/heldout": 8, "interleaved/heldout": 8, "text/heldout": 8,
        "questions/heldout": 8 * len(documents.QUESTIONS),
    }  # fmt: skip
    for folder, amount in expected.items():
        assert shards.read_manifest(root / folder)["records"] == amount
        columns = index.load(root / folder, words, config_lib.Model())
        assert len(columns.segment_start) == amount + 1
        assert columns.segment_tokens.min() > 0
    kinds = shards.read_manifest(root / "questions/heldout")["kinds"]
    assert kinds == dict.fromkeys(sorted(documents.QUESTIONS), 8)


def test_names_are_a_source_where_they_are_asked_for(root, tmp_path):
    spec = dataclasses.replace(SPEC, names=20, questions=24)
    made = sample_world.ensure(tmp_path, spec, progress=False)
    counts = {"names/train": 20, "names/heldout": 8, "one_name/heldout": 24}
    for folder, amount in counts.items():
        assert shards.read_manifest(made / folder)["records"] == amount
        assert not (root / folder).exists()


def test_words_of_questions_are_single_tokens(root):
    words = tokenizer.open(root / "tokenizer.model")
    prompt = "Question: What colour is the circle? Short answer:"
    assert len(words.encode(prompt)) == 11
    assert [len(words.encode(f" {c}")) for c in ("red", "circle", "two")] == [1, 1, 1]


def test_a_world_that_is_there_is_not_touched(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.array_record")}
    sample_world.ensure(root, SPEC, progress=False)
    sample_world.ensure(root, dataclasses.replace(SPEC, enabled=False), progress=False)
    assert before == {p: p.stat().st_mtime_ns for p in root.rglob("*.array_record")}


def test_processes_make_the_same_bytes_as_none(root, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_world, "ALONE", 0)
    monkeypatch.setattr(sample_world, "CHUNK", 7)
    made = sample_world.ensure(tmp_path / "world", SPEC, progress=False)
    assert _bytes(made) == _bytes(root)


def test_another_spec_and_an_unfinished_world_are_made_again(root, tmp_path):
    few = dataclasses.replace(SPEC, captions=10, interleaved=5, texts=5, questions=2)
    made = sample_world.ensure(tmp_path, few, progress=False)
    complete = _bytes(made)
    state = json.loads((made / sample_world.STATE).read_text())
    unfinished = json.dumps(state | {"complete": False})
    (made / sample_world.STATE).write_text(unfinished)
    (made / "text/train/manifest.json").unlink()
    sample_world.ensure(tmp_path, few, progress=False)
    assert _bytes(made) == complete
    other = dataclasses.replace(few, seed=1)
    sample_world.ensure(tmp_path, other, progress=False)
    assert _bytes(made).keys() != complete.keys() or _bytes(made) != complete
    assert json.loads((made / sample_world.STATE).read_text())["spec"]["seed"] == 1


def test_two_that_ask_at_the_same_time_make_it_once(root, tmp_path, monkeypatch):
    write, calls = sample_world._write_corpora, []

    def counted(*arguments):
        calls.append(arguments)
        write(*arguments)

    monkeypatch.setattr(sample_world, "_write_corpora", counted)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(sample_world.ensure, tmp_path, SPEC, False) for _ in "ab"]
        assert [job.result() for job in asked] == [tmp_path, tmp_path]
    assert len(calls) == 1
    assert _bytes(tmp_path) == _bytes(root)


def test_a_corpus_of_somebody_else_is_left_alone(tmp_path):
    theirs = tmp_path / "captions" / "theirs.txt"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    with pytest.raises(ValueError, match=r"holds captions .* another folder"):
        sample_world.ensure(tmp_path, SPEC, progress=False)
    assert theirs.read_text() == "mine"


def test_a_root_that_cannot_be_a_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=r"data.root=.*file: can't hold"):
        sample_world.ensure(tmp_path / "file", SPEC, progress=False)
    with pytest.raises(ValueError, match=r"data.root is empty"):
        sample_world.ensure("", SPEC, progress=False)

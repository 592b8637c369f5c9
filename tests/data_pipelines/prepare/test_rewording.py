"""Rewording: the folder is whole at every moment, its bytes follow from the words."""

import pathlib
import shutil

import numpy as np
import pytest

from data_pipelines import index, records, shards, tokenizer
from data_pipelines.prepare import rewording
from data_pipelines.records import Document, Image, Text
from data_pipelines.shard_reader import ShardReader
from data_pipelines.wording import Choice
from mmjax import config as config_lib

CAPTIONS = [
    Document((Image(b"\xff\xd8%d" % n, 4, 4), Text(f"alt text {n}")), "captions", "k")
    for n in range(30)
]
PAGE = Document((Text("a page of text"), Image(b"\xff\xd8", 4, 4), Text("and more")))
FACTS = {"model": "m", "prompt_sha256": "0"}


def some(key: bytes) -> str:
    """Words for two documents of three."""
    return f"seen {key.hex()}" if key[0] % 3 else ""


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "tokenizer.model"
    return tokenizer.train([f"alt text {n} seen" for n in range(50)], path, 300)


@pytest.fixture
def folder(words, tmp_path):
    root = tmp_path / "train"
    shards.write(root, [*CAPTIONS, PAGE, CAPTIONS[0]], 3, {"options": 1})
    index.build(root, words)
    return root


def _bytes(folder: pathlib.Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def _read(folder: pathlib.Path) -> list[Document]:
    reader = ShardReader(folder)
    return [reader.document(number) for number in range(len(reader))]


def test_captions_get_their_words_and_nothing_else_changes(folder, words):
    before = _read(folder)
    old = shards.read_manifest(folder)
    manifest = rewording.reword(folder, some, FACTS, words)
    after = _read(folder)
    assert [records.document_id(d) for d in after] == [
        records.document_id(d) for d in before
    ]
    given = 0
    for one, other in zip(before, after):
        expected = some(records.document_id(one)) if rewording.is_caption(one) else ""
        texts = [s for s in other.segments if isinstance(s, Text)]
        assert all(text.synthetic == expected for text in texts)
        plain = [s._replace(synthetic="") if s in texts else s for s in other.segments]
        assert other._replace(segments=tuple(plain)) == one
        given += bool(expected)
    assert 5 < given < 30
    assert manifest == shards.read_manifest(folder)
    assert manifest["extra"] == {
        "options": 1, "recaption": {**FACTS, "synthetic": given}
    }  # fmt: skip
    for name in ("records", "duplicates", "images", "characters", "kinds", "licences"):
        assert manifest[name] == old[name], name
    assert manifest["duplicates"] == 1


def test_the_index_counts_the_new_words(folder, words):
    rewording.reword(folder, some, FACTS, words)
    columns = index.load(folder, words, config_lib.Model(), Choice(share=1.0))
    for number, document in enumerate(_read(folder)):
        start, stop = columns.segment_start[number : number + 2]
        expected = [
            144 if isinstance(s, Image) else len(words.encode(s.synthetic or s.text))
            for s in document.segments
        ]
        assert columns.segment_tokens[start:stop].tolist() == expected
    assert columns.synthetic.sum() == np.count_nonzero(
        [any(isinstance(s, Text) and s.synthetic for s in d.segments)
         for d in _read(folder)]
    )  # fmt: skip


def test_only_what_belongs_to_the_folder_is_left_in_it(folder, words):
    rewording.reword(folder, some, FACTS, words)
    manifest = shards.read_manifest(folder)
    names = {info["file"] for info in manifest["shards"]}
    indexes = {n.replace(".array_record", "") for n in names}
    found = {p.name for p in folder.iterdir()} - {shards.MANIFEST}
    assert {n for n in found if n.endswith(".array_record")} == names
    assert {n.split(".index-")[0] for n in found - names} == indexes
    again = _bytes(folder)
    rewording.reword(folder, some, FACTS, words)
    assert _bytes(folder) == again


def test_a_shard_without_new_words_stays_where_it_is(folder, words):
    names = sorted(folder.glob("shard-00000*"))
    kept = {path.name: path.stat().st_ino for path in names}
    (first, *_), at = _read(folder), shards.read_manifest(folder)["shards"][0]
    assert at["records"] > 1
    mine = {records.document_id(d) for d in _read(folder)[: at["records"]]}
    rewording.reword(folder, lambda k: "" if k in mine else "new", FACTS, words)
    assert {p.name: p.stat().st_ino for p in folder.glob("shard-00000*")} == kept
    assert records.document_id(_read(folder)[0]) == records.document_id(first)


class Killed(BaseException):
    """What no code catches."""


def _die_at(monkeypatch, step: int) -> None:
    """Every change of a name counts as a step; this one doesn't happen."""
    left = [step]
    for name in ("replace", "rename", "symlink_to", "unlink"):
        real = getattr(pathlib.Path, name)

        def counted(self, *arguments, _real=real, **options):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return _real(self, *arguments, **options)

        monkeypatch.setattr(pathlib.Path, name, counted)


def test_killed_at_any_step_it_is_whole_and_ends_the_same(
    folder, words, tmp_path, monkeypatch
):
    undisturbed = shutil.copytree(folder, tmp_path / "undisturbed")
    rewording.reword(undisturbed, some, FACTS, words)
    before, expected, states = _read(folder), _bytes(undisturbed), []
    for step in range(100):
        copy = shutil.copytree(folder, tmp_path / f"copy{step}")
        with monkeypatch.context() as patch:
            _die_at(patch, step)
            try:
                rewording.reword(copy, some, FACTS, words)
                break
            except Killed:
                pass
        documents = _read(copy)
        index.load(copy, words, config_lib.Model())
        states.append(documents == before)
        assert states[-1] or documents == _read(undisturbed)
        rewording.reword(copy, some, FACTS, words)
        assert _bytes(copy) == expected
    assert states == sorted(states, reverse=True)  # the old one, then the new one
    assert True in states
    assert False in states

"""A whole preparation: complete or not there, on real and on broken input."""

import hashlib
import json
import sys
import zipfile

import format_files
import list_files
import PIL.Image
import pytest
import raw_corpora
import tokenizers

import mmjax
from data_pipelines import index, pipeline, records, shards, tokenizer
from data_pipelines.prepare import corpus
from data_pipelines.prepare import recipe as recipes
from data_pipelines.prepare.filters import captions as caption_rules
from data_pipelines.prepare.formats import inputs
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.recipe import SPLITS, Recipe
from data_pipelines.shard_reader import ShardReader
from mmjax import config as config_lib

WORDY = caption_rules.DEFAULT._replace(min_words=5)
TEXTS = [f"This is text {n} of {n * n % 7} kinds." for n in range(300)]


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    return {"text": inputs.expand([str(path)], "", "text")}


_quiet = raw_corpora.quiet


def _request(files, output, **changes):
    return corpus.Request(files, str(output), vocab_size=320)._replace(**changes)


def test_without_beam_the_message_says_how_to_install_it(texts, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "data_pipelines.prepare.beam", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'mmjax\[prepare\]'"):
        corpus.prepare(_request(texts, tmp_path / "out"), _quiet)
    assert not (tmp_path / "out").exists()


@pytest.mark.extra
def test_real_corpora_become_shards_that_training_can_open(real_data, tmp_path):
    """The first lines of each real corpus, as the whole would be prepared."""
    captions = real_data / "captions" / "flickr8k_1000"
    pages = real_data / "interleaved"
    with (captions / "captions.jsonl").open() as lines:
        (tmp_path / "captions.jsonl").write_text("".join(next(lines) for _ in range(8)))
    with (pages / "docs.jsonl").open() as lines:
        (tmp_path / "docs.jsonl").write_text("".join(next(lines) for _ in range(8)))
    with (real_data / "text" / "wikitext2_test.txt").open() as lines:
        (tmp_path / "wiki.txt").write_text("".join(next(lines) for _ in range(300)))
    files = {
        name: inputs.expand([str(tmp_path / file)], folder, name)
        for name, file, folder in (
            ("captions", "captions.jsonl", str(captions)),
            ("interleaved", "docs.jsonl", str(pages)),
            ("text", "wiki.txt", ""),
        )
    }
    output = tmp_path / "out"
    request = corpus.Request(files, str(output), Recipe(heldout=0.1), vocab_size=1000)
    summary = corpus.prepare(request, _quiet)
    assert "rejected: 0" in summary
    words = tokenizer.open(output / "tokenizer.model")
    assert words.vocab_size == 1000
    total = {}
    for split in ("train", "heldout"):
        for name in ("captions", "interleaved", "text"):
            folder = output / name / split
            columns = index.load(folder, words, config_lib.Model())
            total[name] = total.get(name, 0) + len(columns.segment_start) - 1
            reader = ShardReader(folder)
            for number in range(len(reader)):
                for segment in reader.document(number).segments:
                    if isinstance(segment, records.Image):
                        assert max(segment.width, segment.height) <= 448
                    else:
                        ids = words.encode(segment.text)
                        assert words.decode(ids) == segment.text
    assert total["captions"] == 40
    assert total["interleaved"] == 8
    assert total["text"] > 3


@pytest.mark.extra
def test_an_existing_tokenizer_is_copied_and_used(texts, tmp_path):
    path = tmp_path / "given.model"
    given = tokenizer.train(TEXTS, path, 300)
    corpus.prepare(
        _request(texts, tmp_path / "out", tokenizer=str(path), shards=2), _quiet
    )
    copied = tmp_path / "out" / "tokenizer.model"
    assert copied.read_bytes() == path.read_bytes()
    columns = index.load(tmp_path / "out/text/train", given, config_lib.Model())
    assert len(columns.segment_start) > 250
    assert len(shards.read_manifest(tmp_path / "out/text/train")["shards"]) == 2


@pytest.mark.extra
@pytest.mark.parametrize("at", ["parts", "shards", "manifest", "train", "index"])
def test_a_run_that_fails_loses_nothing_and_goes_on(texts, tmp_path, monkeypatch, at):
    """What it has done is kept beside; the same request finishes it, to the byte."""

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    engine = pytest.importorskip("data_pipelines.prepare.beam")
    place = {
        "parts": (engine.parts.convert, "documents"),
        "shards": (engine.shards, "write_shard"),
        "manifest": (engine.shards, "write_manifest"),
        "train": (corpus.tokenizer, "train"),
        "index": (corpus.index, "build"),
    }
    whole, request = tmp_path / "whole", _request(texts, tmp_path / "out")
    corpus.prepare(_request(texts, whole), _quiet)
    monkeypatch.setattr(*place[at], fail)
    rule = r"preparation stopped: .*No space left on device.*the same command goes on"
    with pytest.raises(ValueError, match=rule) as told:
        corpus.prepare(request, _quiet)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    corpus.prepare(request, _quiet)
    assert raw_corpora.digests(tmp_path / "out") == raw_corpora.digests(whole)
    assert not list(tmp_path.glob("*unfinished*"))


@pytest.mark.extra
def test_a_corpus_of_rejects_only_is_one_clear_error(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"image": "no.jpg", "caption": "c"}\n')
    files = {"captions": inputs.expand([str(tmp_path / "bad.jsonl")], "", "captions")}
    with pytest.raises(ValueError, match=r"not one document .*1 x missing_image"):
        corpus.prepare(_request(files, tmp_path / "out"), _quiet)
    assert not (tmp_path / "out").exists()


@pytest.mark.extra
def test_a_tokenizer_json_is_copied_and_training_opens_it(texts, tmp_path):
    path = tmp_path / "given.json"
    level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer, made.decoder = level, tokenizers.decoders.ByteLevel()
    made.train_from_iterator(
        TEXTS, tokenizers.trainers.BpeTrainer(initial_alphabet=level.alphabet())
    )
    made.save(str(path))
    output = tmp_path / "out"
    said = corpus.prepare(_request(texts, output, tokenizer=str(path)), _quiet)
    assert f"tokenizer: {output}/tokenizer.json, " in said
    assert (output / "tokenizer.json").read_bytes() == path.read_bytes()
    assert not (output / "tokenizer.model").exists()
    config = config_lib.Config(
        data=config_lib.Data(
            root=str(output), sources=(config_lib.Source("text"),), row_tokens=256,
            rows_per_batch=2, rows_per_pool=1, workers=2,
        ),
        mixture=config_lib.Mixture(weights=(1,)),
    )  # fmt: skip
    opened = pipeline.open(config)
    (batch,) = opened.batches(0, 1)
    row = batch.tokens_ZRT[0, 0]
    assert set(opened.tokenizer.decode(row.tolist()).split(".")) <= {
        text.rstrip(".") for text in [*TEXTS, ""]
    }


@pytest.mark.extra
def test_a_tokenizer_is_trained_on_the_mixture_that_is_asked_for(texts, tmp_path):
    photo = tmp_path / "p.png"
    PIL.Image.new("RGB", (32, 32)).save(photo)
    line = json.dumps({"image": "p.png", "caption": "\u03b1\u03b2\u03b3 \u03b4\u03b5"})
    (tmp_path / "c.jsonl").write_text(line)
    files = texts | {"captions": inputs.expand([str(tmp_path / "c.jsonl")])}
    pieces = {}
    for corpus_ in ("captions", "text"):
        weights = {"captions": 0, "text": 0, corpus_: 1}
        request = _request(files, tmp_path / corpus_, tokenizer_weights=weights)
        corpus.prepare(request._replace(recipe=Recipe(heldout=0.0)), _quiet)
        words = tokenizer.open(tmp_path / corpus_ / "tokenizer.model")
        pieces[corpus_] = len(words.encode("\u03b1\u03b2"))
    assert pieces == {"captions": 2, "text": 4}  # letters, and bytes of unseen ones


@pytest.mark.extra
def test_what_was_read_is_what_was_written_or_told(tmp_path):
    """In every corpus, to the document; manifests tell how it was made."""
    files = raw_corpora.write(tmp_path / "raw")
    settings = Settings(text_split="blank_line")
    recipe = Recipe(
        settings, heldout=0.3, near_duplicates=True, languages=("en",), captions=WORDY
    )
    request = raw_corpora.request(files, tmp_path / "out", recipe=recipe)
    summary = corpus.prepare(request, _quiet)
    found = raw_corpora.listed(tmp_path / "out")
    for name in files:
        manifests = [
            shards.read_manifest(tmp_path / "out" / name / split) for split in SPLITS
        ]
        extra = manifests[0]["extra"]
        assert extra == manifests[1]["extra"]
        lost, read = extra["lost"], extra["read"]
        written = sum(m["records"] + m["duplicates"] for m in manifests)
        assert read["documents"] == written + sum(lost.values())
        (file,) = files[name]
        mine = [reject for reject in found if reject["file"] == file]
        assert lost.keys() <= {reject["reason"] for reject in mine}
        assert extra["recipe"] == recipes.described(recipe)
        model = (tmp_path / "out" / "tokenizer.model").read_bytes()
        digest = hashlib.sha256(model).hexdigest()
        assert extra["tokenizer"] == {"file": "tokenizer.model", "sha256": digest}
        for split, manifest in zip(SPLITS, manifests):
            assert manifest["code_version"] == mmjax.__version__
            assert (
                manifest["licences"] == {"": manifest["records"]}
                or not manifest["records"]
            )
            for info in manifest["shards"]:
                data = (tmp_path / "out" / name / split / info["file"]).read_bytes()
                assert info["bytes"] == len(data)
                assert info["sha256"] == hashlib.sha256(data).hexdigest()
    assert f"rejected: {len(found)}," in summary
    keys = [(list(files).index(_corpus(r, files)), r["number"]) for r in found]
    assert keys == sorted(keys)


def _corpus(reject, files):
    return next(name for name, paths in files.items() if reject["file"] in paths)


@pytest.mark.extra
def test_datasets_of_lists_are_prepared_in_the_parts_they_say(tmp_path):
    """Half of one file, two records of another with names of its own, a zip's texts."""
    for number in range(8):
        (tmp_path / f"{number}.jpg").write_bytes(raw_corpora.noise(number))
    rows = [
        {"id": n, "image": f"{n}.jpg", "conversations": [
            {"from": "human", "value": "<image>What?"},
            {"from": "gpt", "value": f"Thing {n}."}]}
        for n in range(8)
    ]  # fmt: skip
    format_files.as_array(tmp_path / "a.json", rows)
    own = [{"ask": f"Say {n}", "reply": f"Number {n}."} for n in range(9)]
    format_files.as_lines(tmp_path / "b.jsonl", own)
    half = [{"json_path": "a.json", "sampling_strategy": "end:50%"}]
    mixture = list_files.write(tmp_path / "m.yaml", {"datasets": half})
    info = {"file_name": "b.jsonl", "num_samples": 2,
            "columns": {"prompt": "ask", "response": "reply"}}  # fmt: skip
    named = list_files.write(tmp_path / "dataset_info.json", json.dumps({"b": info}))
    with zipfile.ZipFile(tmp_path / "t.txt.zip", "w") as packed:
        packed.writestr("t.txt", "\n\n".join(TEXTS))
    files = {
        "instructions": inputs.expand([str(mixture), f"{named}#b"], "", "instructions"),
        "text": inputs.expand([str(tmp_path / "t.txt.zip")], "", "text"),
    }
    output = tmp_path / "out"
    recipe = Recipe(heldout=0.0)
    corpus.prepare(_request(files, output, recipe=recipe), _quiet)
    reader = ShardReader(output / "instructions" / "train")
    found = [reader.document(n) for n in range(len(reader))]
    said = sorted(document.segments[-1].text for document in found)
    assert said[2:] == [f" Thing {n}." for n in range(4, 8)]
    assert len([text for text in said if text.startswith(" Number")]) == 2
    manifest = shards.read_manifest(output / "instructions" / "train")
    assert manifest["extra"]["read"]["records"] == 6
    assert manifest["extra"]["lost"] == {}

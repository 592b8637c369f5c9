"""A whole preparation: complete or not there, on real and on broken input."""

import json
import sys

import PIL.Image
import pytest
import tokenizers
from data_pipelines.prepare.own import Options

from data_pipelines import index, pipeline, records, shards, tokenizer
from data_pipelines.prepare import corpus, readers
from mmjax import config as config_lib

TEXTS = [f"This is text {n} of {n * n % 7} kinds." for n in range(300)]


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    return readers.inputs("text", [str(path)])


def _quiet(_: str) -> None:
    pass


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
    files = [
        *readers.inputs("captions", [str(tmp_path / "captions.jsonl")], str(captions)),
        *readers.inputs("interleaved", [str(tmp_path / "docs.jsonl")], str(pages)),
        *readers.inputs("text", [str(tmp_path / "wiki.txt")]),
    ]
    output = tmp_path / "out"
    request = corpus.Request(files, str(output), Options(heldout=0.1), vocab_size=1000)
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
            reader = shards.ShardReader(folder)
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
@pytest.mark.parametrize("at", ["run", "train", "index"])
def test_a_run_that_fails_leaves_nothing(texts, tmp_path, monkeypatch, at):
    def fail(*_, **__):
        raise RuntimeError("the disk is full")

    engine = pytest.importorskip("data_pipelines.prepare.beam")
    place = {
        "run": (engine.shards, "write_manifest"),
        "train": (corpus.tokenizer, "train"),
        "index": (corpus.index, "build"),
    }
    monkeypatch.setattr(*place[at], fail)
    with pytest.raises(Exception, match="the disk is full"):
        corpus.prepare(_request(texts, tmp_path / "out"), _quiet)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*unfinished*"))


@pytest.mark.extra
def test_what_a_killed_run_left_is_replaced_but_not_what_is_somebody_elses(
    texts, tmp_path
):
    left = tmp_path / "out.unfinished"
    left.mkdir()
    (left / "precious").write_text("mine")
    with pytest.raises(ValueError, match=r"out.unfinished: in the way, and not ours"):
        corpus.prepare(_request(texts, tmp_path / "out"), _quiet)
    (left / ".mmjax_unfinished").touch()
    corpus.prepare(_request(texts, tmp_path / "out"), _quiet)
    assert not left.exists()
    assert not (tmp_path / "out" / "precious").exists()
    assert not (tmp_path / "out" / ".mmjax_unfinished").exists()
    with pytest.raises(ValueError, match=r"out: exists already; name a new folder"):
        corpus.prepare(_request(texts, tmp_path / "out"), _quiet)


@pytest.mark.extra
def test_a_corpus_of_rejects_only_is_one_clear_error(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"image": "no.jpg", "caption": "c"}\n')
    files = readers.inputs("captions", [str(tmp_path / "bad.jsonl")])
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
    files = [*texts, *readers.inputs("captions", [str(tmp_path / "c.jsonl")])]
    pieces = {}
    for corpus_ in ("captions", "text"):
        weights = {"captions": 0, "text": 0, corpus_: 1}
        request = _request(files, tmp_path / corpus_, tokenizer_weights=weights)
        corpus.prepare(request._replace(options=Options(heldout=0.0)), _quiet)
        words = tokenizer.open(tmp_path / corpus_ / "tokenizer.model")
        pieces[corpus_] = len(words.encode("\u03b1\u03b2"))
    assert pieces == {"captions": 2, "text": 4}  # letters, and bytes of unseen ones

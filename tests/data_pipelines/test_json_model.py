"""tokenizer.json: the library's own ids, and no text that becomes a control id."""

import functools
import json
import pickle
import sys

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from data_pipelines import json_model, tokenizer

TEXTS = ["A red ball  on the\tgrass.\n\nIt is 12 cm.\n", "two  dogs, caf\u00e9"] * 20
SPECIAL = ["<|endoftext|>", "<image>", "<|assistant|>", "</s>", "<unk>"]
PIECES = [*SPECIAL, "    ", "<", ">", "|", "endoftext", "image", "/s", " ", "\uffff"]
SPELLINGS = st.lists(
    st.sampled_from(PIECES) | st.text(max_size=4), max_size=12
).map("".join)  # fmt: skip


def byte_level() -> tokenizers.Tokenizer:
    """A byte-level BPE, as GPT-2's, with special tokens and one that is not special."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=SPECIAL[:3],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    made.add_tokens([tokenizers.AddedToken("    ", normalized=False)])
    made.add_special_tokens(SPECIAL[3:])
    return made


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "tokenizer.json"
    byte_level().save(str(path))
    return path


@pytest.fixture(scope="module")
def own(path):
    return tokenizer.open(path)


def controls(model) -> set[int]:
    return {model.bos, model.eos, model.pad, model.image}


@given(text=SPELLINGS | st.text())
@example(text=" ".join(SPECIAL))
@example(text="        x    ")
@settings(max_examples=400, deadline=None)
def test_a_lossless_model_loses_nothing_and_yields_no_control_id(own, text):
    ids = own.encode(text)
    assert own.decode(ids) == text
    special = {byte_level_ids()[name] for name in SPECIAL}
    assert not (controls(own) | special) & set(ids)


@functools.cache
def byte_level_ids() -> dict[str, int]:
    return byte_level().get_vocab()


@given(text=st.text().filter(lambda text: not any(s in text for s in SPECIAL)))
@settings(max_examples=200, deadline=None)
def test_texts_without_special_tokens_have_the_librarys_ids(own, path, text):
    library = tokenizers.Tokenizer.from_file(str(path))
    assert own.encode(text) == library.encode(text, add_special_tokens=False).ids


def test_our_own_spelling_of_a_special_token_is_text_too(own, path):
    spec, aliases, _ = json_model._specification("x", path.read_bytes())
    assert set(aliases) == set(SPECIAL)
    for alias in aliases.values():
        assert alias in json.dumps(spec, ensure_ascii=False)
        text = f"a {alias}{alias} b"
        assert own.decode(own.encode(text)) == text
        assert not controls(own) & set(own.encode(text))


def test_control_ids_are_the_models_own_or_follow_them(own):
    ids = byte_level_ids()
    assert own.image == ids["<image>"]
    assert own.eos == ids["</s>"]  # named before <|endoftext|> in the table
    assert (own.bos, own.pad) == (len(ids), len(ids) + 1)
    assert own.vocab_size == len(ids) + 2
    shown = [own.bos, *own.encode("red"), own.image, own.eos, own.pad, 10**6]
    assert own.decode(shown) == "red"


def test_it_survives_pickling_and_names_its_content(own, path, tmp_path):
    copy = pickle.loads(pickle.dumps(own))
    text = "A red </s>ball    "
    assert copy.encode(text) == own.encode(text)
    assert (copy.digest, copy.vocab_size) == (own.digest, own.vocab_size)
    (tmp_path / "same").write_bytes(path.read_bytes())  # known by its content
    assert tokenizer.open(tmp_path / "same").digest == own.digest
    (tmp_path / "other.json").write_bytes(path.read_bytes() + b"\n")
    assert tokenizer.open(tmp_path / "other.json").digest != own.digest


def unigram() -> tokenizers.Tokenizer:
    """As converted sentencepiece models: special tokens are pieces with a score."""
    pieces = ["<unk>", "<s>", "</s>", "<pad>", *"a</s>us nk\u2581"]
    scores = [0.0] * 4 + [-3.0] * (len(pieces) - 4)
    made = tokenizers.Tokenizer(
        models.Unigram(list(dict(zip(pieces, scores)).items()), 0)
    )
    made.add_special_tokens(pieces[:4])
    return made


def words() -> tokenizers.Tokenizer:
    """Whole words; a special token is a word like others."""
    made = tokenizers.Tokenizer(
        models.WordLevel({"<unk>": 0, "hi": 1, "</s>": 2, "<image>": 3}, "<unk>")
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<unk>", "</s>", "<image>"])
    return made


def word_pieces() -> tokenizers.Tokenizer:
    vocab = {"[UNK]": 0, "[PAD]": 1, "[IMG]": 2, "[": 3, "##pad": 4, "##]": 5, "a": 6}
    made = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["[UNK]", "[PAD]", "[IMG]"])
    return made


def greedy() -> tokenizers.Tokenizer:
    """A BPE that takes whole words of its vocabulary, and merges up to </s>."""
    vocab = {c: i for i, c in enumerate(["<", "/", "s", ">", "</", "s>", "</s>", "x"])}
    merges = [("<", "/"), ("s", ">"), ("</", "s>")]
    made = tokenizers.Tokenizer(models.BPE(vocab, merges, ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["</s>"])
    return made


@pytest.mark.parametrize("build", [unigram, words, word_pieces, greedy])
@given(text=SPELLINGS)
@example(text="a </s> <s> <unk><pad> <image> [PAD] [IMG]")
@settings(max_examples=100, deadline=None)
def test_no_kind_of_model_yields_a_control_id(build, text):
    library = build()
    model = json_model.JsonModel("x", library.to_str().encode())
    ids = model.encode(text)
    assert not controls(model) & set(ids)
    for name in ("</s>", "<s>", "<pad>", "<image>", "[PAD]", "[IMG]"):
        assert library.token_to_id(name) not in ids or name not in special(library)


def special(library: tokenizers.Tokenizer) -> set[str]:
    return {t.content for t in library.get_added_tokens_decoder().values() if t.special}


def test_spellings_are_encoded_as_their_letters():
    model = json_model.JsonModel("x", unigram().to_str().encode())
    assert [model._model.id_to_token(i) for i in model.encode("a</s>")] == list("a</s>")
    model = json_model.JsonModel("x", greedy().to_str().encode())
    assert [model._model.id_to_token(i) for i in model.encode("</s>")] == ["</", "s>"]
    assert model.eos == 6


def test_files_that_are_no_tokenizer_are_named(tmp_path, own):
    for content in ("", "{", "{}", '{"model": {"type": "BPE"}}', "[1]"):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(ValueError, match=r"bad\.json: no tokenizer\.json") as error:
            tokenizer.open(tmp_path / "bad.json")
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="not valid unicode"):
        own.encode("\ud800")


def test_without_the_library_the_message_says_how_to_install_it(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ValueError, match=r"pip install 'mmjax\[tokenizers\]'"):
        tokenizer.open(path)

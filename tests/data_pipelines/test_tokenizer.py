"""Tokenizer: lossless where it is ours, and text never becomes a control id."""

import pickle

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_pipelines import tokenizer

TEXTS = ["A red ball  on the\tgrass.\n\nIt is 12 cm.\n", "  two  dogs, caf\u00e9"] * 20
CONTROL = "<image> <s>x</s><pad><unk> <0x41>"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "own.model"
    return tokenizer.train(TEXTS, path, 330)


@pytest.fixture(scope="module")
def llama(real_data):
    return tokenizer.open(real_data / "tokenizers" / "llama2_tokenizer.model")


@given(text=st.text())
@example(text="line\n\n  two  spaces \t\r\n ")
@example(text=" leading and trailing ")
@example(text="\u2581a\u2581\u2581 b\u2581")  # sentencepiece's own sign for a space
@example(text="\x00\ufffd\U0001f600\u200d")
@example(text=CONTROL)
@settings(max_examples=200)
def test_own_tokenizers_lose_nothing(own, text):
    ids = own.encode(text)
    assert own.decode(ids) == text
    assert not {own.bos, own.eos, own.pad, own.image} & set(ids)


def test_training_is_reproducible_and_sets_the_control_ids(own, tmp_path):
    again = tokenizer.train(iter(TEXTS), tmp_path / "deep" / "again.model", 330)
    assert again.digest == own.digest
    assert (own.pad, own.bos, own.eos, own.image) == (0, 2, 3, 4)
    assert 5 + 256 < own.vocab_size <= 330


def test_digits_are_split_and_spaces_stay(own):
    assert len(own.encode("1234")) == 4
    assert own.encode("a  b") != own.encode("a b")


def test_long_texts_are_trained_on(tmp_path):
    long = tokenizer.train(["".join(TEXTS) * 20], tmp_path / "long.model", 330)
    assert long.vocab_size > 5 + 256 + len(set("".join(TEXTS)))
    assert len(long.encode("A red ball on the grass.")) < 20


def test_impossible_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="vocab_size=100"):
        tokenizer.train(TEXTS, tmp_path / "small.model", 100)
    with pytest.raises(ValueError, match="vocab_size=400"):
        tokenizer.train([], tmp_path / "empty.model", 400)
    assert not list(tmp_path.iterdir())


def test_it_survives_pickling(own):
    copy = pickle.loads(pickle.dumps(own))
    assert copy.encode("A red\u2581ball") == own.encode("A red\u2581ball")
    assert (copy.digest, copy.vocab_size) == (own.digest, own.vocab_size)


def test_control_ids_decode_to_nothing(own):
    ids = [own.bos, *own.encode("red"), own.image, own.eos, own.pad, 10**6]
    assert own.decode(ids) == "red"


def test_files_that_are_no_model_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.model: No such file"):
        tokenizer.open(tmp_path / "gone.model")
    (tmp_path / "bad.model").write_text("not a model")
    with pytest.raises(ValueError, match=r"bad\.model: no sentencepiece model"):
        tokenizer.open(tmp_path / "bad.model")
    with pytest.raises(ValueError, match="not valid unicode"):
        tokenizer.train(TEXTS, tmp_path / "t.model", 330).encode("\ud800")


@pytest.mark.parametrize(
    ("name", "size", "text"),
    [
        ("llama2_tokenizer", 32002, "  A dog,\n\n\tcaf\u00e9 \U0001f600 12  "),
        ("sentencepiece_test_model", 1002, "the dog is here"),
        ("sentencepiece_test_ja_model", 8002, "\u6c34\u3092\u98f2\u3080"),
    ],
)
def test_foreign_models_get_the_ids_they_lack(real_data, name, size, text):
    model = tokenizer.open(real_data / "tokenizers" / f"{name}.model")
    assert (model.bos, model.eos) == (1, 2)
    assert (model.pad, model.image, model.vocab_size) == (size - 2, size - 1, size)
    assert model.decode(model.encode(text)) == text
    assert not {1, 2, model.pad, model.image} & set(model.encode(CONTROL))


def test_pieces_are_shown_with_their_spaces_bytes_and_control_ids(tmp_path):
    words = tokenizer.train(["a red ball and a cube"] * 9, tmp_path / "t.model", 300)
    ids = words.encode(" a red  ball")
    assert "".join(tokenizer.piece(words, id) for id in ids) == " a red  ball"
    (byte, *_) = words.encode("\u00e9")
    assert tokenizer.piece(words, byte) == "<0xC3>"
    controls = (words.bos, words.eos, words.pad, words.image)
    assert [tokenizer.piece(words, id) for id in controls] == [
        "<bos>",
        "<eos>",
        "<pad>",
        "<image>",
    ]
    assert tokenizer.piece(words, words.vocab_size) == f"<no id: {words.vocab_size}>"


PIECES = ["<image>", "<s>", "</s>", "<unk>", "<0x41>", "<", ">", "/s", "image"]
SPELLINGS = st.sampled_from([*PIECES, " ", "\u2581", "\ufffd"]) | st.text(max_size=4)


@given(parts=st.lists(SPELLINGS, max_size=12))
@settings(max_examples=300, deadline=None)
def test_no_spelling_of_a_piece_gives_a_control_id(llama, parts):
    text = "".join(parts)
    ids = llama.encode(text)
    assert not {llama.bos, llama.eos, llama.pad, llama.image} & set(ids)
    assert llama.decode(ids) == text.replace("\u2581", " ")  # which it takes for one


def test_a_folder_has_one_tokenizer_of_either_kind(own, tmp_path):
    assert tokenizer.in_folder(tmp_path).name == "tokenizer.model"
    (tmp_path / "tokenizer.json").touch()
    assert tokenizer.in_folder(tmp_path).name == "tokenizer.json"
    (tmp_path / "tokenizer.model").touch()
    with pytest.raises(ValueError, match=r"has tokenizer\.model and tokenizer\.json"):
        tokenizer.in_folder(tmp_path)

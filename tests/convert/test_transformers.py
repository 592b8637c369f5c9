"""What export writes is what transformers loads."""

import json
import pathlib

import numpy as np
import peer_models as peers
import pytest
import sentencepiece
import weight_samples as samples

from data_pipelines import tokenizer
from mmjax.convert import parts, tokenizer_files

pytestmark = pytest.mark.extra
TEXTS = [f"a photo of {n} small dogs and a cat, number {n * 7}." for n in range(300)]


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> pathlib.Path:
    """A sentencepiece tokenizer of ours."""
    path = tmp_path_factory.mktemp("words") / "tokenizer.model"
    return pathlib.Path(tokenizer.train(TEXTS, path, 320).path)


def whole(folder: pathlib.Path, words: pathlib.Path) -> str:
    model = samples.llava()
    model.decoder.vocab_size = 512
    source = samples.saved(folder, model)
    (folder / "tokenizer.model").write_bytes(words.read_bytes())
    return source


def test_a_llava_is_loaded_with_its_processor_and_gives_our_logits(tmp_path, words):
    transformers = pytest.importorskip("transformers")
    import torch
    from PIL import Image

    source = whole(tmp_path / "ours", words)
    folder = samples.exported(tmp_path / "theirs", source, shard_bytes=20_000)
    theirs, info = transformers.LlavaForConditionalGeneration.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(info.values())
    processor = transformers.AutoProcessor.from_pretrained(folder)
    images = peers.image(1)
    inputs = processor(
        images=Image.fromarray(images[0, 0]),
        text="<image>a photo of 3 dogs",
        return_tensors="pt",
        add_special_tokens=False,
    )
    ours_words = tokenizer.open(words)
    ids = [ours_words.image] * 4 + ours_words.encode("a photo of 3 dogs")
    assert inputs["input_ids"][0].tolist() == ids
    model, params = peers.loaded(tmp_path / "ours")
    np.testing.assert_allclose(
        inputs["pixel_values"], peers.pixels(images, model.vit), atol=1e-5
    )
    with torch.no_grad():
        expected = theirs.eval()(**inputs).logits[0]
    ours = peers.logits_with_images(model, params, np.array(ids), images, ids[0])
    assert peers.error(ours, expected) < 1e-4


@pytest.mark.parametrize("kind", parts.DECODERS)
def test_a_decoder_is_loaded_whole_and_gives_our_logits(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    import torch

    folder = samples.theirs(tmp_path / "theirs", kind)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(info.values())
    assert type(theirs).__name__ == parts.DECODERS[kind].architecture
    model, params = peers.loaded(tmp_path / "theirs.ours")
    ids = np.random.default_rng(0).integers(0, 16, 10)
    with torch.no_grad():
        expected = theirs.eval()(input_ids=torch.tensor(ids)[None]).logits[0]
    assert peers.error(peers.logits(model, params, ids), expected) < 1e-4


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("dummy", [False, True])
def test_a_sentencepiece_model_gives_the_same_ids_in_transformers(
    tmp_path, kind, dummy
):
    transformers = pytest.importorskip("transformers")
    path = tmp_path / "tokenizer.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(tmp_path / "tokenizer"),
        model_type=kind,
        vocab_size=320,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=dummy,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
    )
    made, words = tokenizer_files.exported(path), tokenizer.open(path)
    for name, content in made.files.items():
        (tmp_path / name).write_text(json.dumps(content))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in (
        "a photo of 12 dogs",
        "  two  spaces\nand a line ",
        "\u4f60 \U0001f642",
    ):
        ids = theirs(text, add_special_tokens=False).input_ids
        assert ids == words.encode(text)
        assert theirs.decode(ids, clean_up_tokenization_spaces=False) == text
    assert theirs.bos_token_id == words.bos
    assert theirs.eos_token_id == words.eos
    assert theirs.pad_token_id == words.pad
    assert theirs("<image>", add_special_tokens=False).input_ids == [words.image]
    assert len(theirs) == words.vocab_size

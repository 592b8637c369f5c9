"""A tokenizer of ours as the files of transformers: text gives the same ids.

Control tokens that the model lacks, the image's among them, are added with our ids.
"""

import json
import pathlib
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sentencepiece

from data_pipelines import tokenizer
from data_pipelines.json_model import JsonModel

Spec = dict[str, Any]  # the content of a tokenizer.json
_NAMES = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "image": "<image>"}
_SPACE = "\u2581"  # how sentencepiece writes one
_SAMPLES = (
    "A photo of two dogs, running; it's 2024!",
    "  leading,  double and trailing spaces ",
    "lines\nand\ttabs\n\n1234567890 3.14",
    "Gr\u00fc\u00dfe, \u4f60\u597d, \u0438 \U0001f642 caf\u00e9 na\u00efve",
    "def f(x):\n    return x ** 2  # comment",
    "",
)


class Exported(NamedTuple):
    """What is written of a tokenizer."""

    ids: dict[str, int]  # of bos, eos, pad and image
    spelled: dict[str, str]  # how they are written
    files: dict[str, Spec]


def exported(path: pathlib.Path) -> Exported:
    """The files of a tokenizer; ValueError where no tokenizer.json says the same."""
    words = tokenizer.open(path)
    if isinstance(words, JsonModel):
        spec = json.loads(path.read_bytes())
    else:
        spec = _of_sentencepiece(path, words)
    ids = {name: getattr(words, name) for name in _NAMES}
    added = {token["id"]: token for token in spec.get("added_tokens") or ()}
    known = set(_pieces(spec["model"])) | {t["content"] for t in added.values()}
    for name, id in sorted(ids.items(), key=lambda item: item[1]):
        if id not in added:
            content = _NAMES[name] if _NAMES[name] not in known else f"<|our_{name}|>"
            added[id] = _added(id, content)
    spec["added_tokens"] = [added[id] for id in sorted(added)]
    spelled = {name: added[id]["content"] for name, id in ids.items()}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "bos_token": spelled["bos"],
        "eos_token": spelled["eos"],
        "pad_token": spelled["pad"],
        "extra_special_tokens": {"image_token": spelled["image"]},
    }
    files = {"tokenizer.json": spec, "tokenizer_config.json": settings}
    return Exported(ids, spelled, files)


def _pieces(model: Spec) -> Sequence[str]:
    vocab = model["vocab"]
    return list(vocab) if isinstance(vocab, dict) else [piece for piece, _ in vocab]


def _added(id: int, content: str) -> Spec:
    plain = ("single_word", "lstrip", "rstrip", "normalized")
    return {"id": id, "content": content, "special": True} | dict.fromkeys(plain, False)


def _of_sentencepiece(path: pathlib.Path, words: tokenizer.Tokenizer) -> Spec:
    """The tokenizer.json that gives the ids of a sentencepiece model.

    The model's file doesn't say in the open how it splits; so each way is tried, and
    compared with the model itself.
    """
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise ValueError(
            f"tokenizer {path}: writing it as tokenizer.json needs a library: run  "
            "pip install 'mmjax[tokenizers]'"
        ) from error
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    texts = [*_SAMPLES, *_random_texts(model)]
    expected = [words.encode(text) for text in texts]
    for spec in _candidates(model):
        made = tokenizers.Tokenizer.from_str(json.dumps(spec))
        if all(
            made.encode(text, add_special_tokens=False).ids == ids
            for text, ids in zip(texts, expected)
        ):
            return spec
    raise ValueError(
        f"tokenizer {path}: no tokenizer.json gives the ids of this sentencepiece "
        "model; name one with --tokenizer=tokenizer.json"
    )


def _random_texts(model: Any, count: int = 200) -> Iterator[str]:
    """Texts of pieces that the model knows, in any order."""
    rng = random.Random(0)
    plain = [
        i
        for i in range(model.vocab_size())
        if not (model.is_control(i) or model.is_unknown(i) or model.is_byte(i))
    ]
    for _ in range(count):
        yield model.decode(rng.choices(plain, k=rng.randint(1, 20)))


def _candidates(model: Any) -> Iterator[Spec]:
    pieces = [
        (model.id_to_piece(i), model.get_score(i)) for i in range(model.vocab_size())
    ]
    special = [
        _added(i, piece)
        for i, (piece, _) in enumerate(pieces)
        if model.is_control(i) or model.is_unknown(i)
    ]
    to_mark = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    to_space = {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "}
    prepend = {"type": "Prepend", "prepend": _SPACE}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    joined = [to_space, {"type": "ByteFallback"}, {"type": "Fuse"}]
    for kind in (_unigram, _bpe):
        for normalizers, decoders in (
            ([to_mark], joined),
            ([prepend, to_mark], [*joined, strip]),
        ):
            yield {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": special,
                "normalizer": {"type": "Sequence", "normalizers": normalizers},
                "pre_tokenizer": None,
                "post_processor": None,
                "decoder": {"type": "Sequence", "decoders": decoders},
                "model": kind(pieces, model.unk_id()),
            }


def _unigram(pieces: Sequence[tuple[str, float]], unknown: int) -> Spec:
    return {
        "type": "Unigram",
        "unk_id": unknown,
        "vocab": [list(piece) for piece in pieces],
        "byte_fallback": True,
    }


def _bpe(pieces: Sequence[tuple[str, float]], unknown: int) -> Spec:
    """Merges in the order of their products' scores."""
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    merges = []
    for piece, score in pieces:
        splits = [
            (piece[:at], piece[at:])
            for at in range(1, len(piece))
            if piece[:at] in ids and piece[at:] in ids
        ]
        splits.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
        merges += [(score, pair) for pair in splits]
    merges.sort(key=lambda merge: -merge[0])
    return {
        "type": "BPE",
        "unk_token": pieces[unknown][0],
        "fuse_unk": True,
        "byte_fallback": True,
        "vocab": ids,
        "merges": [list(pair) for _, pair in merges],
    }

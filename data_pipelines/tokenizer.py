"""Tokenizers: what one is, how a file of either kind is opened, how one is trained.

Control ids are never reached from text: a user's "<image>" or "</s>" is plain text.
"""

import pathlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import sentencepiece

from data_pipelines import paths
from data_pipelines.json_model import JsonModel
from data_pipelines.sentencepiece_model import IMAGE_PIECE, SentencePieceModel

# The kinds, by the name of their file in a prepared folder.
KINDS = {kind.FILE_NAME: kind for kind in (SentencePieceModel, JsonModel)}
_TRAIN_BYTES = 4000  # sentencepiece drops longer training sentences
_TRAIN_SENTENCES = 1_000_000  # a random sample of so many is trained on


class Tokenizer(Protocol):
    """Text to ids and back. Picklable.

    `bos`, `eos`, `pad` and `image` are the ids of begin and end of a document, padding
    and image positions. Those that the model doesn't have (or has as ordinary pieces)
    follow its own ids; `vocab_size` includes them. `digest` names model and rules.
    """

    FILE_NAME: str  # in a prepared folder
    path: str
    bos: int
    eos: int
    pad: int
    image: int
    vocab_size: int
    digest: str

    def encode(self, text: str) -> list[int]:
        """Ids of the text, none of them a control id; ValueError if not unicode."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids; control ids give nothing."""
        ...

    def own_piece(self, id: int) -> str:
        """What one id of the model itself stands for; empty if it isn't one."""
        ...


def piece(words: Tokenizer, id: int) -> str:
    """What one id stands for, to be shown: text, <0x0A> of a byte, <bos> and such.

    Unlike decoding it never drops a space, and it has words for control ids.
    """
    names = {words.bos: "bos", words.eos: "eos", words.pad: "pad", words.image: "image"}
    if id in names:
        return f"<{names[id]}>"
    return words.own_piece(id) or f"<no id: {id}>"


def open(path: str | pathlib.Path) -> Tokenizer:
    """The tokenizer of a file: a sentencepiece model or a tokenizer.json.

    Raises ValueError where there is none, or the library that it needs is missing.
    """
    try:
        content = paths.of(path).read_bytes()
    except OSError as error:
        raise ValueError(f"tokenizer {path}: {error.strerror}") from error
    as_json = pathlib.Path(path).suffix == ".json" or content.lstrip()[:1] == b"{"
    return (JsonModel if as_json else SentencePieceModel)(path, content)


def in_folder(root: str | pathlib.Path) -> pathlib.Path:
    """The tokenizer's file in a prepared folder; ValueError where there are two."""
    candidates = [paths.of(root) / name for name in KINDS]
    found = [path for path in candidates if path.exists()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise ValueError(f"{root}: has {names}; name the one to use (data.tokenizer)")
    return found[0] if found else candidates[0]


def train(
    texts: Iterable[str], path: str | pathlib.Path, vocab_size: int, threads: int = 4
) -> Tokenizer:
    """Trains a lossless sentencepiece unigram model on the texts, writes it to `path`.

    Bytes stand for what no piece covers, digits are split, and spaces and newlines
    survive: decode(encode(text)) == text. A corpus with too few different pieces gives
    fewer than `vocab_size` ids. The same texts give the same model. Raises ValueError
    where `vocab_size` can't hold the bytes, control ids and letters of the texts.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    sentencepiece.set_random_generator_seed(0)
    try:
        with part.open("wb") as file:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_sentences(texts),
                model_writer=file,
                vocab_size=vocab_size,
                hard_vocab_limit=False,
                model_type="unigram",
                byte_fallback=True,
                split_digits=True,
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                add_dummy_prefix=False,
                allow_whitespace_only_pieces=True,
                control_symbols=[IMAGE_PIECE],
                pad_id=0,
                unk_id=1,
                bos_id=2,
                eos_id=3,
                input_sentence_size=_TRAIN_SENTENCES,
                shuffle_input_sentence=True,
                num_threads=threads,
                minloglevel=2,
            )
    except RuntimeError as error:
        part.unlink(missing_ok=True)
        raise ValueError(
            f"no tokenizer of vocab_size={vocab_size} from these texts: {error}"
        ) from error
    part.replace(path)
    return open(path)


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    """The texts in pieces short enough for sentencepiece's trainer."""
    for text in texts:
        for start in range(0, len(text), _TRAIN_BYTES // 4):
            yield text[start : start + _TRAIN_BYTES // 4]

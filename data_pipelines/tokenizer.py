"""The tokenizer: a sentencepiece model plus the control ids that documents need.

Control ids are never reached from text: a user's "<image>" or "</s>" is plain text.
"""

import hashlib
import pathlib
from collections.abc import Iterable, Iterator

import sentencepiece

VERSION = 1  # of the way from text to ids, part of the digest
IMAGE_PIECE = "<image>"
_WORD_MARK = "\u2581"  # how sentencepiece writes a space
_TRAIN_BYTES = 4000  # sentencepiece drops longer training sentences
_TRAIN_SENTENCES = 1_000_000  # a random sample of so many is trained on


class Tokenizer:
    """Text to ids and back. Picklable.

    `bos`, `eos`, `pad` and `image` are the ids of begin and end of a document, padding
    and image positions. Those that the model doesn't have (or has as ordinary pieces)
    follow its own ids; `vocab_size` includes them. `digest` names model and rules.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = str(path)
        try:
            model = pathlib.Path(path).read_bytes()
            self._model = sentencepiece.SentencePieceProcessor(model_proto=model)
        except OSError as error:
            raise ValueError(f"tokenizer {path}: {error.strerror}") from error
        except RuntimeError as error:
            raise ValueError(f"tokenizer {path}: no sentencepiece model") from error
        self._pieces = size = self._model.vocab_size()
        ids = []
        for own in (
            self._model.bos_id(),
            self._model.eos_id(),
            self._model.pad_id(),
            self._model.piece_to_id(IMAGE_PIECE),
        ):
            known = own >= 0 and self._model.is_control(own)
            ids.append(own if known else size)
            size += not known
        self.bos, self.eos, self.pad, self.image = ids
        self.vocab_size = size
        self.digest = hashlib.sha256(model + bytes([VERSION])).hexdigest()
        self._mark_ids = self._ids_of_mark()

    def encode(self, text: str) -> list[int]:
        """Ids of the text, none of them a control id."""
        try:
            if self._mark_ids and _WORD_MARK in text:
                return self._encode_marks(text)
            return self._model.encode(text)
        except (RuntimeError, TypeError) as error:  # half a surrogate pair
            raise ValueError(f"text is not valid unicode: {error}") from error

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids; control ids give nothing."""
        return self._model.decode([int(i) for i in ids if 0 <= i < self._pieces])

    def piece(self, id: int) -> str:
        """What one id stands for, to be shown: text, <0x0A> of a byte, <bos> and such.

        Unlike `decode` it never drops a space, and it has words for control ids.
        """
        names = {self.bos: "bos", self.eos: "eos", self.pad: "pad", self.image: "image"}
        if id in names:
            return f"<{names[id]}>"
        if not 0 <= id < self._pieces:
            return f"<no id: {id}>"
        return self._model.id_to_piece(int(id)).replace(_WORD_MARK, " ")

    def _ids_of_mark(self) -> list[int]:
        """Byte ids of the character that sentencepiece itself uses for a space.

        Left to sentencepiece it would come back as a space. Empty where the model
        isn't lossless anyway: no byte pieces, or a space of its own before each text.
        """
        ids = [self._model.piece_to_id(f"<0x{b:02X}>") for b in _WORD_MARK.encode()]
        lossless = self._model.decode(self._model.encode("  a ")) == "  a "
        bare = self._model.encode("") == [] and not self._model.encode(
            "a", out_type=str
        )[0].startswith(_WORD_MARK)
        return ids if lossless and bare and all(map(self._model.is_byte, ids)) else []

    def _encode_marks(self, text: str) -> list[int]:
        first, *rest = map(self._model.encode, text.split(_WORD_MARK))
        return first + [id for part in rest for id in self._mark_ids + part]


def train(
    texts: Iterable[str], path: str | pathlib.Path, vocab_size: int, threads: int = 4
) -> Tokenizer:
    """Trains a lossless unigram model on the texts and writes it to `path`.

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
    return Tokenizer(path)


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    """The texts in pieces short enough for sentencepiece's trainer."""
    for text in texts:
        for start in range(0, len(text), _TRAIN_BYTES // 4):
            yield text[start : start + _TRAIN_BYTES // 4]

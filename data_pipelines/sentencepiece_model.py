"""A sentencepiece model as a tokenizer, with the control ids that documents need."""

import hashlib
import pathlib
from collections.abc import Iterable

import sentencepiece

VERSION = 1  # of the way from text to ids, part of the digest
IMAGE_PIECE = "<image>"
_WORD_MARK = "\u2581"  # how sentencepiece writes a space


class SentencePieceModel:
    """Text to ids and back; see `tokenizer.Tokenizer`. Picklable."""

    FILE_NAME: str = "tokenizer.model"

    def __init__(self, path: str | pathlib.Path, content: bytes):
        """Raises ValueError where the content is no sentencepiece model."""
        self.path = str(path)
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=content)
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
        self.digest = hashlib.sha256(content + bytes([VERSION])).hexdigest()
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

    def own_piece(self, id: int) -> str:
        """What one id of the model stands for; empty if it isn't one."""
        if not 0 <= id < self._pieces:
            return ""
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

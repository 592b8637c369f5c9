"""A Hugging Face `tokenizer.json` as a tokenizer, with the control ids it lacks.

The library turns every spelling of a special token in a text into that token. Here the
special tokens are spelled as no text is (their ids stay), so that text stays text.
Added tokens that aren't special, such as runs of spaces, are pieces like all others.
"""

import hashlib
import json
import pathlib
from collections.abc import Iterable
from typing import Any

VERSION = 1  # of the way from text to ids, part of the digest
# By which of its added tokens a model is known to mean what; the first that it has.
CONTROLS = {
    "bos": ("<s>", "<bos>", "[BOS]", "<|begin_of_text|>", "<|startoftext|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "<|end_of_text|>", "<|endoftext|>"),
    "pad": ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>"),
    "image": ("<image>", "<|image|>", "<|image_pad|>", "<image_soft_token>", "[IMG]"),
}
_NAMED = {name for names in CONTROLS.values() for name in names}


class JsonModel:
    """Text to ids and back; see `tokenizer.Tokenizer`. Picklable."""

    FILE_NAME: str = "tokenizer.json"

    def __init__(self, path: str | pathlib.Path, content: bytes):
        """Raises ValueError where the content is no tokenizer.json."""
        self.path = str(path)
        self.digest = hashlib.sha256(content + bytes([VERSION])).hexdigest()
        spec, aliases, unknown = _specification(self.path, content)
        self._model = _load(self.path, spec)
        self._pieces = size = 1 + max(self._model.get_vocab().values(), default=-1)
        ids = []
        for names in CONTROLS.values():
            own = [aliases[name] for name in names if name in aliases]
            ids.append(self._model.token_to_id(own[0]) if own else size)
            size += not own
        self.bos, self.eos, self.pad, self.image = ids
        self.vocab_size = size
        special = {
            self._model.token_to_id(alias)
            for name, alias in aliases.items()
            if name != unknown
        }
        self._controls = frozenset(special | set(ids))

    def encode(self, text: str) -> list[int]:
        """Ids of the text, none of them a control id."""
        try:
            ids = self._model.encode(text, add_special_tokens=False).ids
        except TypeError as error:  # half a surrogate pair
            raise ValueError(f"text is not valid unicode: {error}") from error
        if self._controls.isdisjoint(ids):
            return ids
        # Somebody spelled a token as we do; half of that spelling is none.
        middle = len(text) // 2
        if not middle:
            return [i for i in ids if i not in self._controls]
        return self.encode(text[:middle]) + self.encode(text[middle:])

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids; control ids give nothing."""
        known = [
            int(i) for i in ids if 0 <= i < self._pieces and i not in self._controls
        ]
        return self._model.decode(known, skip_special_tokens=False)

    def own_piece(self, id: int) -> str:
        """What one id of the model stands for; empty if it isn't one."""
        if not 0 <= id < self._pieces:
            return ""
        return self._model.decode([int(id)], skip_special_tokens=False) or (
            self._model.id_to_token(int(id)) or ""
        )


def _specification(
    path: str, content: bytes
) -> tuple[dict[str, Any], dict[str, str], str | None]:
    """The file in our spelling, that of each control token, and the unknown piece."""
    key = hashlib.sha256(content).hexdigest()[:16]
    try:
        spec = json.loads(content)
        added: list[dict] = list(spec.get("added_tokens") or ())
        aliases: dict[str, str] = {
            token["content"]: f"\uffff{key} {token['id']}\uffff"
            for token in added
            if token["special"] or token["content"] in _NAMED or _trims(token)
        }
        return _aliased(spec, added, aliases), aliases, _unknown(spec["model"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"tokenizer {path}: no tokenizer.json ({error!r})") from error


def _trims(token: dict) -> bool:
    """Whether a token takes the spaces around it along, which decoding can't undo."""
    return bool(token.get("lstrip") or token.get("rstrip"))


def _aliased(
    spec: dict[str, Any], added: list[dict], aliases: dict[str, str]
) -> dict[str, Any]:
    """The file's content with control tokens spelled by their aliases.

    Without what changes the ids of a text: chance (dropout), cuts and filling up.
    """
    plain = {"lstrip": False, "rstrip": False, "normalized": False}
    tokens = [
        token | plain | {"content": aliases[token["content"]]}
        if token["content"] in aliases
        else token
        for token in added
    ]
    off = {"truncation": None, "padding": None, "post_processor": None}
    return (
        spec | off | {"added_tokens": tokens, "model": _model(spec["model"], aliases)}
    )


def _model(model: dict[str, Any], aliases: dict[str, str]) -> dict[str, Any]:
    """The model with pieces renamed, and without merges that would make them."""
    changed = dict(model)
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        changed["vocab"] = {aliases.get(piece, piece): i for piece, i in vocab.items()}
    elif isinstance(vocab, list):
        changed["vocab"] = [[aliases.get(piece, piece), n] for piece, n in vocab]
    if model.get("unk_token") in aliases:
        changed["unk_token"] = aliases[model["unk_token"]]
    if "merges" in model:
        prefix = model.get("continuing_subword_prefix") or ""
        pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
        changed["merges"] = [
            [left, right]
            for left, right in pairs
            if not {left, right, left + right.removeprefix(prefix)} & aliases.keys()
        ]
    return changed | ({"dropout": None} if "dropout" in model else {})


def _unknown(model: dict[str, Any]) -> str | None:
    """The piece that stands for what no piece covers."""
    vocab, place = model.get("vocab"), model.get("unk_id")
    if isinstance(vocab, list) and isinstance(place, int) and place < len(vocab):
        return vocab[place][0]
    return model.get("unk_token")


def _load(path: str, spec: dict[str, Any]) -> Any:
    """The library's tokenizer; it is optional."""
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise ValueError(
            f"tokenizer {path}: the library for tokenizer.json is not installed: run  "
            "pip install 'mmjax[tokenizers]'"
        ) from error
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(spec))
    except Exception as error:  # the library raises nothing more special
        raise ValueError(f"tokenizer {path}: no tokenizer.json ({error})") from error

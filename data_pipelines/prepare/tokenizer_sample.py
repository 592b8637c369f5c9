"""The texts that a tokenizer is trained on: all of them, or a mixture of the corpora.

A mixture takes of each corpus a share of the characters, the documents whose ids hash
lowest first. What is drawn follows from the documents alone, not from the number or
order of shards.
"""

import array
import hashlib
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from data_pipelines import records
from data_pipelines.records import Document, Text
from data_pipelines.shard_reader import ShardReader

# Of a mixture. At 50 characters a document, to draw so many takes 200 MB of memory.
MAX_CHARACTERS = 200_000_000
_AT_LEAST = 10_000  # documents that are considered even where few are wanted
_HASHES = 2**64


class _Drawn(NamedTuple):
    """Documents of one corpus, in the order in which they are taken."""

    numbers: np.ndarray  # int64 [documents], records
    characters: np.ndarray  # int64 [documents]


def parse(weights: str) -> dict[str, int]:
    """The weights that 'captions:45,text:10' says; ValueError where it says none."""
    parsed: dict[str, int] = {}
    for item in weights.split(","):
        name, _, weight = item.strip().partition(":")
        if not name or not weight.isdecimal():
            rule = "needs CORPUS:WEIGHT,... with integer weights"
            raise ValueError(f"--tokenizer_weights={weights}: {rule}")
        if name in parsed:
            raise ValueError(f"--tokenizer_weights={weights}: {name} stands twice")
        parsed[name] = int(weight)
    return parsed


def check(weights: Mapping[str, int], corpora: Iterable[str]) -> None:
    """Raises ValueError unless the weights (if any) are those of all the corpora."""
    names = sorted(corpora)
    if weights and (sorted(weights) != names or not any(weights.values())):
        shown = ",".join(f"{name}:{weight}" for name, weight in weights.items())
        raise ValueError(
            f"--tokenizer_weights={shown}: needs a weight for each corpus "
            f"({', '.join(names)}), not all 0"
        )


def texts(
    folders: Mapping[str, pathlib.Path],
    weights: Mapping[str, int],
    limit: int = MAX_CHARACTERS,
) -> Iterator[str]:
    """The texts of prepared folders, by corpus.

    Without weights, all texts, one corpus after the other. With weights, so many
    characters of each corpus that they are in proportion: all of the corpus that is the
    scarcest for its weight, or `limit` in all. Raises ValueError where a corpus of
    positive weight has no text.
    """
    if not weights:
        for folder in folders.values():
            reader = ShardReader(folder)
            for number in range(len(reader)):
                yield from _texts(reader.document(number))
        return
    readers = {
        name: ShardReader(folders[name]) for name in sorted(weights) if weights[name]
    }
    there = {name: r.manifest["characters"] for name, r in readers.items()}
    for name, budget in budgets(there, weights, limit).items():
        yield from _sample(readers[name], budget)


def budgets(
    there: Mapping[str, int], weights: Mapping[str, int], limit: int
) -> dict[str, int]:
    """Characters to take of each corpus of positive weight that has so many."""
    empty = [name for name, characters in there.items() if not characters]
    if empty:
        raise ValueError(f"--tokenizer_weights: {empty[0]} has no text to draw from")
    total = sum(weights[name] for name in there)
    whole = min([limit, *(there[name] * total // weights[name] for name in there)])
    return {name: whole * weights[name] // total for name in there}


def _sample(reader: ShardReader, budget: int) -> Iterator[str]:
    """Texts of the documents whose hashes are lowest, `budget` characters of them."""
    drawn = _enough(reader, budget)
    before = np.cumsum(drawn.characters) - drawn.characters
    for number in drawn.numbers[before < budget].tolist():
        for text in _texts(reader.document(number)):
            yield text[:budget]
            budget -= len(text[:budget])
            if not budget:
                return


def _enough(reader: ShardReader, budget: int) -> _Drawn:
    """About twice as many documents as are needed, those whose hashes are lowest."""
    share = max(2 * budget / reader.manifest["characters"], _AT_LEAST / len(reader))
    while True:
        drawn = _draw(reader, share)
        if share >= 1 or drawn.characters.sum() >= budget:
            return drawn
        share *= 2  # some documents are far longer than others


def _draw(reader: ShardReader, share: float) -> _Drawn:
    """About this share of the documents, sorted by their hashes."""
    below = min(int(share * _HASHES), _HASHES)
    keys, numbers, characters = (array.array(code) for code in "Qqq")
    for number in range(len(reader)):
        document = reader.document(number)
        key = hashlib.blake2b(
            records.document_id(document), digest_size=8, person=b"tokenizer"
        )
        place = int.from_bytes(key.digest(), "big")
        if place < below:
            keys.append(place)
            numbers.append(number)
            characters.append(sum(map(len, _texts(document))))
    order = np.argsort(np.asarray(keys, np.uint64), kind="stable")
    return _Drawn(np.asarray(numbers)[order], np.asarray(characters)[order])


def _texts(document: Document) -> list[str]:
    return [s.text for s in document.segments if isinstance(s, Text)]

"""The tokenizer's training texts: in proportion, and the same however shards lie."""

import itertools
import random

import pytest

from data_pipelines import shards, tokenizer
from data_pipelines.prepare import tokenizer_sample
from data_pipelines.records import Document, Image, Text

WEIGHTS = {"captions": 45, "interleaved": 45, "text": 10}


def _made(count: int, words: int, seed: int, sign: str) -> list[Document]:
    """Documents whose texts say which corpus they are of, with an image between."""
    rng = random.Random(seed)
    picture = Image(b"jpeg", 2, 2)
    return [
        Document((Text(_words(rng, words, sign)), picture, Text(f"{sign}{n} end")))
        for n in range(count)
    ]


def _words(rng: random.Random, words: int, sign: str) -> str:
    return " ".join(sign * rng.randint(1, 9) for _ in range(rng.randint(1, 2 * words)))


MADE = {
    "captions": _made(300, 6, 0, "c"),
    "interleaved": _made(60, 200, 1, "i"),
    "text": _made(20, 900, 2, "t"),
}


def _written(root, counts=(3, 2, 1)):
    folders = {}
    for (name, documents), count in zip(MADE.items(), counts):
        shards.write(root / name, documents, count)
        folders[name] = root / name
    return folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return _written(tmp_path_factory.mktemp("corpora"))


def _amounts(texts) -> dict[str, int]:
    amounts = dict.fromkeys(MADE, 0)
    for text in texts:
        if text:
            (name,) = [n for n in MADE if n[0] == text[0]]
            amounts[name] += len(text)
    return amounts


def _all(name: str) -> list[str]:
    segments = itertools.chain(*(d.segments for d in MADE[name]))
    return [s.text for s in segments if isinstance(s, Text)]


def test_without_weights_every_text_comes_once(folders):
    found = list(tokenizer_sample.texts(folders, {}))
    assert sorted(found) == sorted(itertools.chain(*map(_all, MADE)))


@pytest.mark.parametrize(
    "weights", [WEIGHTS, {"captions": 1, "interleaved": 2, "text": 0}]
)
def test_characters_are_in_proportion_and_the_scarcest_corpus_is_whole(
    folders, weights
):
    found = list(tokenizer_sample.texts(folders, weights))
    amounts, total = _amounts(found), sum(weights.values())
    for name, weight in weights.items():
        assert abs(amounts[name] - sum(amounts.values()) * weight / total) <= 1
    whole = sum(map(len, _all("captions")))
    assert amounts["captions"] > 0.99 * whole - total
    for name in weights:  # nothing comes twice; only the last text may be cut
        mine = [text for text in found if text and text[0] == name[0]]
        assert len(set(mine) - set(_all(name))) <= 1
        assert all(mine.count(text) <= _all(name).count(text) for text in mine[:-1])


def test_the_limit_is_the_sum(folders):
    found = list(tokenizer_sample.texts(folders, WEIGHTS, limit=1000))
    assert _amounts(found) == {"captions": 450, "interleaved": 450, "text": 100}


@pytest.mark.parametrize("at_least", [10_000, 1])
def test_what_is_drawn_does_not_depend_on_the_shards(
    folders, tmp_path, monkeypatch, at_least
):
    """Nor on how many documents are looked at more closely."""
    expected = list(tokenizer_sample.texts(folders, WEIGHTS))
    monkeypatch.setattr(tokenizer_sample, "_AT_LEAST", at_least)
    other = _written(tmp_path, (1, 7, 5))
    reverse = dict(reversed(WEIGHTS.items()))
    assert list(tokenizer_sample.texts(other, reverse)) == expected


def test_a_mixture_trains_the_same_model_from_any_shards(folders, tmp_path):
    digests = set()
    for number, place in enumerate((folders, _written(tmp_path, (5, 1, 4)))):
        texts = tokenizer_sample.texts(place, WEIGHTS)
        model = tokenizer.train(texts, tmp_path / f"{number}.model", 300)
        digests.add(model.digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("weights", "rule"),
    [
        ("captions", "needs CORPUS:WEIGHT"),
        ("captions:1.5", "needs CORPUS:WEIGHT"),
        ("captions:-1", "needs CORPUS:WEIGHT"),
        ("captions:1,captions:2", "captions stands twice"),
        ("captions:1,text:1", "needs a weight for each corpus"),
        ("captions:1,text:1,interleaved:1,web:1", "needs a weight for each corpus"),
        ("captions:0,text:0,interleaved:0", "not all 0"),
    ],
)
def test_weights_that_cannot_be_met_are_refused(weights, rule):
    with pytest.raises(ValueError, match=rule) as error:
        tokenizer_sample.check(tokenizer_sample.parse(weights), MADE)
    assert "--tokenizer_weights=" in str(error.value)


def test_a_corpus_without_text_is_named(tmp_path):
    shards.write(tmp_path / "captions", [Document((Image(b"x", 1, 1),))], 1)
    with pytest.raises(ValueError, match="captions has no text"):
        list(
            tokenizer_sample.texts({"captions": tmp_path / "captions"}, {"captions": 1})
        )

"""MinHash: agreement of signatures is the Jaccard similarity; bands find near texts."""

import random

import numpy as np
import pytest

from data_pipelines.prepare import minhash, words


def _jaccard(one, other):
    """The similarity itself, by sets of tuples."""
    sets = []
    for text in (one, other):
        listed = words.words(text)
        sets.append({tuple(listed[i : i + 5]) for i in range(len(listed) - 4)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def _changed(rng, text, share):
    listed = text.split()
    for i in rng.sample(range(len(listed)), round(share * len(listed))):
        listed[i] = f"new{rng.randrange(10**6)}"
    return " ".join(listed)


@pytest.fixture(scope="module")
def texts(real_data):
    text = (real_data / "text" / "botchan.txt").read_text(encoding="utf-8")
    listed = text.split()
    return [" ".join(listed[i : i + 250]) for i in range(0, 40_000, 250)]


def test_agreement_is_the_jaccard_similarity(texts):
    rng = random.Random(1)
    errors = []
    for share in (0.0, 0.005, 0.01, 0.02, 0.05, 0.1):
        for text in texts[:40]:
            other = _changed(rng, text, share)
            signed = minhash.signature(text)
            found = minhash.similarities(signed, minhash.signature(other)[None])[0]
            errors.append(found - _jaccard(text, other))
    # A place agrees with probability s: a standard deviation of at most 0.044 each.
    assert abs(np.mean(errors)) < 3 * 0.044 / len(errors) ** 0.5
    assert np.std(errors) < 0.044
    assert np.abs(errors).max() < 5 * 0.044


def test_a_few_changed_words_are_found_and_other_texts_are_not(texts):
    rng = random.Random(2)
    bands = [set(minhash.bands(minhash.signature(text))) for text in texts]
    near = [_changed(rng, text, 0.01) for text in texts]  # 2 of 250 words
    found = [
        bool(keys & set(minhash.bands(minhash.signature(text))))
        for keys, text in zip(bands, near)
    ]
    assert np.mean(found) > 0.98  # at similarities of 0.92 or so
    met = sum(bool(a & b) for i, a in enumerate(bands) for b in bands[:i])
    assert met == 0  # of 12,720 pairs of different pages of one novel


def test_equal_words_give_equal_signatures_and_order_of_texts_is_free(texts):
    loud = texts[0].upper().replace(" ", "  \n")
    assert (minhash.signature(loud) == minhash.signature(texts[0])).all()
    one, other = minhash.signature(texts[0]), minhash.signature(texts[1])
    there = minhash.similarities(one, other[None])
    assert there == minhash.similarities(other, one[None])


def test_long_texts_are_read_to_their_end():
    listed = [str(number) for number in range(3000)]
    low = minhash.signature(" ".join(listed))
    parts = [minhash.signature(" ".join(listed[i : i + 5])) for i in range(2996)]
    np.testing.assert_array_equal(low, np.min(parts, axis=0))


def test_short_texts_are_one_run_and_texts_without_words_meet_nothing():
    short = minhash.signature("A dog.")
    assert (short == minhash.signature("a DOG")).all()
    assert len(minhash.bands(short)) == minhash.BANDS
    assert minhash.bands(minhash.signature(" ... ")) == ()
    # Equal rows in different bands are no match.
    assert len(set(minhash.bands(np.zeros(minhash.PLACES, np.uint32)))) == minhash.BANDS
    assert short.dtype == np.uint32
    assert short.shape == (minhash.PLACES,)


def test_signatures_never_change():
    """Digits of the first version, by Python's integers; a change would be silent."""
    signed = minhash.signature("a b c d e")
    run = int(words.runs(words.hashes(list("abcde")), 5)[0])
    seeds = [_mixed(n * 0x9E3779B97F4A7C15 % 2**64) for n in range(1, 257)]
    expected = [
        ((seeds[i] | 1) * run + seeds[128 + i]) % 2**64 >> 32 for i in range(128)
    ]
    assert signed.tolist() == expected


def _mixed(x):
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31

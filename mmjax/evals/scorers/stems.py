"""OK-VQA's stems, learned from the official file's pairs of raw and stemmed answers.

The official `answer` fields are stems ("ride hors"), so a prediction must be stemmed
alike. OpenFlamingo rebuilds the stemmer from NLTK's tagger, WordNet and a table by
hand. Here the file is the table: each word that an annotator used has its official stem
in it, and a word that nobody used is brought to a stem of the file where it is a plural
or an -ing form of one, or stays.
"""

import collections
from collections.abc import Iterable, Mapping


def learn(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The stem of each word, from (raw answer, stemmed answer); the commonest wins."""
    seen: dict[str, collections.Counter[str]] = {}
    for raw, stemmed in pairs:
        words, stems = raw.lower().split(), stemmed.lower().split()
        if len(words) == len(stems):
            for word, stem in zip(words, stems):
                seen.setdefault(word, collections.Counter())[stem] += 1
    return {word: counts.most_common(1)[0][0] for word, counts in seen.items()}


def stem(text: str, stems: Mapping[str, str]) -> str:
    """A text with each word brought to the stem that the official file would use."""
    known = set(stems.values())
    return " ".join(_stem(word, stems, known) for word in text.lower().split())


def _stem(word: str, stems: Mapping[str, str], known: set[str]) -> str:
    if word in stems:
        return stems[word]
    for base in _bases(word):
        if base in stems:
            return stems[base]
        if base in known:
            return base
    return word


def _bases(word: str) -> list[str]:
    """What a word may be a plural or an -ing form of."""
    if word.endswith("ing") and len(word) > 5:
        short = word[:-3]
        doubled = [short[:-1]] if short[-1] == short[-2] else []
        return [short, short + "e", *doubled]
    if word.endswith("ies") and len(word) > 4:
        return [word[:-3] + "y", word[:-1]]
    if word.endswith("es") and len(word) > 3:
        return [word[:-1], word[:-2]]
    if word.endswith("s") and not word.endswith("ss"):
        return [word[:-1]]
    return []

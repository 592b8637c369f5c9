"""Short answers brought into one form, as VQA's scorers do: two rules, by name.

"official" is VQAEval of the VQA challenge; "leaderboard" is the answer processor of
MMF, which EvalAI's TextVQA board and LLaVA use. They share their tables and most steps,
slips included: where a slip decides a score it is kept, and said.
"""

import re
from collections.abc import Callable

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGITS = "zero one two three four five six seven eight nine ten"
_NUMBERS = {word: str(i) for i, word in enumerate(_DIGITS.split())} | {"none": "0"}
_ARTICLES = frozenset(("a", "an", "the"))

# Each stands for itself without any one of its apostrophes: "couldnt've", "couldn'tve".
_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've
hasn't haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am
mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at
shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
someone'd someone'd've someone'll someone's something'd something'd've something'll
that's there'd there'd've there're there's they'd they'd've they'll they're they've
'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's
where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't
wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
CONTRACTIONS = {
    word[:i] + word[i + 1 :]: word
    for word in _CONTRACTED.split()
    for i, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}  # the table's own slip

# Meant as "no digit on either side"; the first half is mistyped and says nothing.
_PERIOD = re.compile(r"\.(?!\d)")
# `re.UNICODE` is passed where the count belongs: so many periods are dropped.
_PERIODS = int(re.UNICODE)


def official(answer: str) -> str:
    """An answer as VQAEval compares it."""
    flat = answer.replace("\n", " ").replace("\t", " ").strip()
    return _words(_punctuated(flat, re.compile(r"\d,\d")))


def leaderboard(answer: str) -> str:
    """An answer as MMF's EvalAIAnswerProcessor compares it."""
    plain = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    flat = plain.strip().replace("\n", " ").replace("\t", " ").strip()
    return _words(_punctuated(flat, re.compile(r"(?<=\d),+(?=\d)")))


NORMALIZERS: dict[str, Callable[[str], str]] = {
    "official": official,
    "leaderboard": leaderboard,
}


def _punctuated(text: str, comma: re.Pattern[str]) -> str:
    """Punctuation dropped, or a blank in its place.

    It is dropped if it stands beside a blank somewhere in the text, and all of it is
    where digits hold a comma between them.
    """
    numbers = comma.search(text) is not None
    kept = text
    for mark in _PUNCTUATION:
        beside = mark + " " in text or " " + mark in text
        kept = kept.replace(mark, "" if beside or numbers else " ")
    return _PERIOD.sub("", kept, count=_PERIODS)


def _words(text: str) -> str:
    """Lowercase, numbers as digits, no articles, contractions with apostrophes."""
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    kept = (word for word in words if word not in _ARTICLES)
    return " ".join(CONTRACTIONS.get(word, word) for word in kept)

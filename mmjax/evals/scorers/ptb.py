"""Captions to tokens as the Penn Treebank tokenizer of coco-caption makes them.

The official scorers run Stanford's PTBTokenizer 3.4.1 (`-preserveLines -lowerCase`) on
Java. These rules say the same of captions without it; `docs/evaluation.md` tells how
often the two differ.
"""

import re

# What the official scorers drop. Their list also names the brackets, but in capitals,
# while the tokens are lowercase: -lrb- and its kin stay, and so do runs like "!!".
DROPPED = frozenset(("''", "'", "``", "`", *".?!,:;-", "--", "..."))

_BRACKETS = {
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
}
_MEANINGS = {
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": "''",
    "&nbsp;": " ",
    "\u00a3": "#",
    "\u20ac": "$",
    "\u00a2": " cents ",
    "\u00bd": "1/2",
    "\u00bc": "1/4",
    "\u00be": "3/4",
    "\u2153": "1/3",
    "\u2154": "2/3",
    "\u2026": "...",
    "\u2013": "--",
    "\u2014": "--",
    "\u2015": "--",
    "\u201c": '"',
    "\u201d": '"',
    "\u00ab": '"',
    "\u00bb": '"',
    "\u2018": "'",
    "\u2019": "'",
    "\u2039": "'",
    "\u203a": "'",
}

# Words whose period belongs to them wherever they stand.
_TITLES = """mr mrs ms dr drs prof profs sen sens rep reps atty attys lt col gen messrs
gov govs adm rev maj sgt cpl pvt capt st ste ave pres lieut hon brig cmdr comdr pfc spc
supt supts det mme mt jr sr bros blvd rd esq etc al seq bldg ft vs alex wm jos cie est
cf mfg ph tel ext adj adv dec elec sq rt inc co cos corp pty pte ptys ptes ltd plc
bancorp dept bhd assn univ intl sys jan feb mar apr jun jul aug sep sept oct nov mon tue
tues wed thu thurs fri ala ariz calif colo conn ct dak fla ga ind kan kans ky md mich
minn mo mont neb nev okla penn tenn va vt wis wisc wyo"""
_CAPITAL_TITLES = "Az Ark Del Ill La Mass Miss Ore Pa Tex Wash"  # also common words
_BEFORE_NUMBERS = "fig no nos ca op art"

_RULES = (
    r"</?[a-z][^<>]*>",  # a tag
    r"https?://[^\s\"<>|()]*[^\s\"<>|.!?(){},;:'-]",
    r"(?:www\.)?[a-z][\w-]*(?:\.[a-z][\w-]*)*\.(?:com|net|org|edu)\b(?:/[\w./-]*\w)?",
    r"[\w.+-]*\w@\w[\w-]*(?:\.\w+)*",  # an address
    r"(?<!\w)[<>]?[:;=][-o*']?[()dpo\\{@|\[\]](?!\w)",  # a smiley
    r"[#@][a-z_]\w*",
    r"\.\.\.+|(?:\. ){2}\.",
    r"(?:ph|ed)\.d\.",
    rf"(?:{'|'.join(_TITLES.split())})\.(?!\w)",
    rf"(?-i:{'|'.join(_CAPITAL_TITLES.split())})\.(?!\w)",
    rf"(?:{'|'.join(_BEFORE_NUMBERS.split())})\.(?= ?\d)",
    r"(?:[a-z]\.)*[a-z]\.(?![a-z])",  # an acronym, or one letter
    r"can(?=not\b)|gon(?=na\b)|got(?=ta\b)|(?:gim|lem)(?=me\b)|wan(?=na\b)",
    r"'t(?=is\b|was\b)|d'ye\b|'n'|'n\b|'em\b|'till?\b|'cause\b|ol'|(?:more|rock)(?='n\b)",
    r"o'clock(?!\w)|ma'am\b|c'mon\b|(?:[dlo]|qu|n|c)'(?!s\b)[a-z]\w*(?:-\w+)*",
    r"[a-z]+(?=n't\b)|n't\b",
    r"'(?:s|ll|ve|re|d|m)(?!\w)",
    r"'\d\ds?(?!\w)",
    r"(?-i:[A-Z]+&[A-Z]+)",
    r"(?:us|hk|a|c|nt)\$",
    r"[-+]?\d*(?:[.:,]\d+)+|[-+]\d+",
    r"[a-z]+(?:[.!?][a-z]+)+(?=n't\b)?",
    r"[^\W_]+(?:_[^\W_]+|[-/][^\W_]+)*",
    r"--+|\*+|_+|[!?]+",
    r"\S",
)
_TOKEN = re.compile("|".join(f"(?:{rule})" for rule in _RULES), re.IGNORECASE)
_MEANING = re.compile("|".join(re.escape(key) for key in _MEANINGS))
_DASHES = re.compile(r"--+$")


def tokenize(caption: str) -> list[str]:
    """Lowercase tokens of a caption without its punctuation."""
    text = _MEANING.sub(lambda found: _MEANINGS[found[0]], caption.replace("\n", " "))
    tokens = (_spelled(token) for token in _TOKEN.findall(text))
    return [token for token in tokens if token and token not in DROPPED]


def _spelled(token: str) -> str:
    """A token as it is printed; empty where it is quotes or cannot be spelled."""
    if token == '"' or ord(token[0]) > 0xFFFF:
        return ""
    if token.startswith(("--", "...", ". .")):
        return ""
    for bracket, name in _BRACKETS.items():
        token = token.replace(bracket, name)
    return token.lower()

"""Quality rules: each has its measure and limits; real prose passes them."""

import json
import math
import re

import pytest

from data_pipelines.prepare.filters import quality
from data_pipelines.prepare.filters.quality import Rules

PROSE = (
    "The ferry to the island leaves at noon and comes back before it is dark. We sat "
    "with our bags on the upper deck. A man sold tea from a cart that he could hardly "
    "push. Nobody had told him that the sea would be rough. When the wind rose, cups "
    "slid over the boards, and he laughed about it as if he were used to this."
)


def _only(**limits):
    """Rules of which just these hold."""
    return Rules(*[None] * len(Rules._fields))._replace(**limits)


def _value(name, text, bad_words=frozenset()):
    """What the measure says, out of the detail of a limit that nothing can meet."""
    rules = _only(**{name: (math.inf, math.inf)})
    return float(quality.problem(text, rules, bad_words).detail.split(",")[0])


def test_every_rule_has_a_measure():
    assert list(quality.MEASURES) == list(Rules._fields)


def test_prose_breaks_no_rule_and_each_fault_breaks_its_own():
    assert quality.problem(PROSE, quality.GOPHER) is None
    assert quality.problem(PROSE, quality.C4) is None
    faults = {
        "text_words": PROSE[:100],
        "text_mean_word_length": " ".join(["ab of the to"] * 20),
        "text_hashes": PROSE + " # #" * 5,
        "text_ellipses": PROSE.replace(". ", "... ") + " ..." * 4,
        "text_bullet_lines": "\n".join("- " + line for line in PROSE.split(" ", 19)),
        "text_ellipsis_lines": f"{PROSE}\nMore\u2026\nRead on...",
        "text_alphabetic_words": PROSE + " 1,000" * 25,
        "text_stop_words": re.sub(r"(?i)\b(the|to|and|of|with|that|be)\b", "xx", PROSE),
        "text_lorem_ipsum": PROSE + " Lorem ipsum dolor sit amet.",
        "text_notice_lines": f"{PROSE}\nThis site uses cookies.",
        "text_repeated_lines": f"{PROSE}\nyes\nyes\nyes",
        "text_repeated_paragraphs": f"{PROSE}\n\na\nb\n\na\nb",
        "text_repeated_line_characters": f"{PROSE}\n{PROSE}\n" + "\n".join("abcdefgh"),
        "text_most_frequent_2_words": PROSE + " tea cup" * 15,
        "text_repeated_10_words": f"{PROSE} {PROSE[:140]}",
    }
    for reason, text in faults.items():
        found = quality.problem(text, _without(quality.GOPHER, reason, text))
        assert found is not None, reason
        assert found.reason == reason


def _without(rules, reason, text):
    """The rules from the wanted one on: a fault may break earlier ones, too."""
    start = Rules._fields.index(reason.removeprefix("text_"))
    return rules._replace(**dict.fromkeys(Rules._fields[:start]))


def test_limits_are_allowed_themselves():
    """Three of ten lines: 1 - 7 / 10 would be more than 0.3."""
    lines = "\n".join("abcdefgaaa")
    assert quality.problem(lines, _only(repeated_lines=(0, 0.3))) is None
    assert quality.problem(lines, _only(repeated_lines=(0, 0.29))) is not None


def test_c4_drops_curly_brackets_and_pages_of_few_sentences():
    assert quality.problem(PROSE + " {x}", quality.GOPHER) is None
    found = quality.problem(PROSE + " {x}", quality.C4)
    assert found == ("text_curly_brackets", "1, must be 0 to 0")
    few = PROSE.replace(". ", ", ")
    assert quality.problem(few, quality.C4).reason == "text_sentences"
    assert _value("sentences", 'One. "Two!" Three? 3.5 and e.g.x') == 3


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("words", "a b  c\nd", 4),
        ("mean_word_length", "a bbb", 2),
        ("mean_word_length", "", 0),
        ("hashes", "# a b ##", 0.75),
        ("ellipses", "a... b\u2026 c d", 0.5),
        ("bullet_lines", "\u2022 a\n\n  * b\nc\nd", 0.5),
        ("ellipsis_lines", "a...\n\nb\u2026 \nc\nd", 0.5),
        ("alphabetic_words", "a1 22 + \u00e9", 0.5),
        ("stop_words", "The the THE of", 2),
        ("repeated_lines", "a\nb\na\n\na", 0.5),
        ("repeated_paragraphs", "a\nb\n\nc\n\na\nb\n\nd", 0.25),
        ("repeated_line_characters", "aaaa\nbb\naaaa\ncccccc", 0.25),
        ("most_frequent_2_words", "a b a b c d e f", 0.5),
        ("most_frequent_2_words", "a b a b cc d cc d", 0.6),
        ("most_frequent_2_words", "a b c d", 0),
        ("most_frequent_2_words", "a a a a", 1),
        ("repeated_5_words", "a b c d e a b c d e", 0.5),
        ("repeated_5_words", "a a a a a a a a a a", 0.9),
        ("repeated_5_words", "a b c", 0),
    ],
)
def test_measures_give_what_can_be_counted_by_hand(name, text, value):
    assert _value(name, text) == pytest.approx(value)


@pytest.mark.parametrize("length", [5, 7, 10])
def test_repeated_runs_are_those_of_a_plain_loop(length):
    words = (PROSE + " " + PROSE[50:200] + " " + PROSE[100:180]).split()
    seen, inside = set(), set()
    for start in range(len(words) - length + 1):
        run = tuple(words[start : start + length])
        if run in seen:
            inside |= set(range(start, start + length))
        seen.add(run)
    share = sum(len(words[i]) for i in inside) / sum(map(len, words))
    assert share > 0.1
    found = _value(f"repeated_{length}_words", " ".join(words))
    assert found == pytest.approx(share, rel=1e-3)


def test_bad_words_are_whole_words_and_phrases_of_the_users_list(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text("Scum\n\nhot dog\n\u72ac\nc++\n", encoding="utf-8")
    bad = quality.read_words(str(path))
    assert bad == {"scum", "hot dog", "\u72ac", "c++"}
    for text, value in (
        ("scumbag, bigscum and hotdog", 0),
        ("You SCUM!", 0.5),
        ("a Hot Dog x", 0.25),
        ("\u6211\u7684\u72ac", 1),
        ("I like c++", 1 / 3),
    ):
        assert _value("bad_words", text, bad) == pytest.approx(value, rel=1e-3)
    rules = quality.GOPHER
    assert quality.problem(f"{PROSE} Scum.", rules) is None
    assert quality.problem(f"{PROSE} Scum.", rules, bad).reason == "text_bad_words"


def test_lists_that_cannot_be_read_are_named(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    for path in (empty, tmp_path / "none.txt", tmp_path):
        with pytest.raises(ValueError, match=str(path)):
            quality.read_words(str(path))


@pytest.mark.parametrize("text", ["", " \n", "#", "\ud800", "1 " * 60])
def test_any_text_is_judged(text):
    assert quality.problem(text) is not None
    for name in Rules._fields:
        _value(name, text)


def test_few_real_articles_novels_and_tutorials_are_dropped(real_data):
    """Shares of false alarms: nobody would call these texts bad."""
    folder = real_data / "text"
    wiki = (folder / "wikitext2_test.txt").read_text(encoding="utf-8")
    articles = re.split(r"\n(?= = [^=].*[^=] = \n)", _untokenized(wiki))
    articles = [article for article in articles if len(article) > 200]
    novel = (folder / "botchan.txt").read_text(encoding="utf-8")
    pages = [novel[i : i + 4000] for i in range(0, len(novel) - 2000, 4000)]
    assert len(articles) > 55
    assert len(pages) > 60
    with open(real_data / "interleaved" / "docs.jsonl", encoding="utf-8") as lines:
        documents = [json.loads(line)["texts"] for line in lines]
    tutorials = ["\n\n".join(filter(None, texts)) for texts in documents]
    assert _dropped(articles) <= 2 / 61  # one is full of <unk>, one lists results
    assert _dropped(pages) == 0
    assert _dropped(tutorials) <= 0.11  # those that are mostly tables or code


def _untokenized(text):
    """WikiText has spaces around punctuation, which would count as words."""
    text = re.sub(r" @(.)@ ", r"\1", text)
    text = re.sub(r" ([,.;:!?)\]%]|'s|n't)", r"\1", text)
    return re.sub(r"([(\[$]) ", r"\1", text).replace("<unk>", "unk")


def _dropped(texts):
    return sum(quality.problem(text) is not None for text in texts) / len(texts)

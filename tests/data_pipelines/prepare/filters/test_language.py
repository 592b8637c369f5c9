"""Languages: real texts are told apart, and codes that can't be are refused."""

import sys

import pytest

from data_pipelines.prepare.filters import language

extra = pytest.mark.extra  # py3langid

TEXTS = {
    "en": "A black dog runs over the grass with a ball in its mouth.",
    "de": "Ein schwarzer Hund rennt mit einem Ball im Maul \u00fcber die Wiese.",
    "fr": "Un chien noir court dans l'herbe avec une balle dans la gueule.",
    "es": "Un perro negro corre por la hierba con una pelota en la boca.",
    "ru": "\u0427\u0451\u0440\u043d\u0430\u044f \u0441\u043e\u0431\u0430\u043a\u0430",
    "ja": "\u9ed2\u3044\u72ac\u304c\u8349\u306e\u4e0a\u3092\u8d70\u308b",
}


@extra
@pytest.mark.parametrize("code", TEXTS)
def test_sentences_have_their_language(code):
    found, probability = language.language(TEXTS[code])
    assert found == code
    assert 0.5 < probability <= 1


@extra
def test_only_languages_to_keep_stay():
    assert language.problem(TEXTS["en"], ("de", "en")) is None
    found = language.problem(TEXTS["fr"], ("de", "en"))
    assert found.reason == "language"
    assert found.detail.startswith("fr")
    assert found.detail.endswith("must be one of de, en")
    unsure = language.problem("ok", (language.language("ok")[0],), least=0.99)
    assert unsure.reason == "language_unsure"


@pytest.mark.parametrize("text", ["", " \n", "12 + 34 = 46", "..."])
def test_texts_without_letters_have_no_language(text):
    assert language.language(text) == ("und", 0.0)


@extra
def test_codes_that_no_text_gets_are_refused():
    language.check(("en", "de", "und"))
    with pytest.raises(ValueError, match="english: must be of"):
        language.check(("en", "english"))
    with pytest.raises(ValueError, match="none given"):
        language.check(())


def test_without_the_library_the_message_names_it(monkeypatch):
    language._identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid", None)
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(ValueError, match="pip install py3langid"):
        language.language("some text")


@extra
def test_real_english_is_english(real_data):
    text = (real_data / "text" / "botchan.txt").read_text(encoding="utf-8")
    for start in range(0, len(text) - 1000, 1000):
        code, probability = language.language(text[start : start + 1000])
        assert code == "en"
        assert probability > 0.9

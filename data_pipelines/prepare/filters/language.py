"""Language of a text, by py3langid (139 languages, no download)."""

import functools
import importlib
from collections.abc import Collection
from typing import Any

from data_pipelines.prepare.filters.base import Problem

UNKNOWN = "und"  # ISO 639-2: undetermined
_READ = 4000  # characters of a text that are looked at


def language(text: str) -> tuple[str, float]:
    """ISO 639 code and probability, such as ("en", 0.9987), of a text's beginning.

    ("und", 0.0) for a text without letters; "zxx" for what is no language. Raises
    ValueError where py3langid isn't installed.
    """
    start = text[:_READ]
    if not any(map(str.isalpha, start)):
        return UNKNOWN, 0.0
    code, probability = _identifier().classify(start)
    # The last digits of a sum of floats depend on the machine.
    return code, round(probability, 4)


def problem(text: str, keep: Collection[str], least: float = 0.5) -> Problem | None:
    """A problem where the text is in none of the languages to keep, or not surely.

    Of short texts such as captions it is seldom sure: give them a `least` of 0. For
    pages OBELICS (Laurencon et al., 2023) has 0.8, with another classifier.
    """
    code, probability = language(text)
    if code not in keep:
        wanted = ", ".join(sorted(keep))
        return Problem("language", f"{code} ({probability}), must be one of {wanted}")
    if probability < least:
        return Problem(
            "language_unsure", f"{code} ({probability}), must be at least {least:g}"
        )
    return None


def check(keep: Collection[str]) -> None:
    """Raises ValueError for codes that no text can get, and without py3langid."""
    known = {*_identifier().labels, UNKNOWN}
    unknown = sorted(set(keep) - known)
    if unknown or not keep:
        given = ", ".join(unknown) or "none given"
        rule = f"must be of {', '.join(sorted(known))}"
        raise ValueError(f"languages to keep: {given}: {rule}")


@functools.cache
def _identifier() -> Any:
    try:
        langid = importlib.import_module("py3langid.langid")
    except ImportError as error:
        rule = "needs py3langid: pip install py3langid (or mmjax[prepare])"
        raise ValueError(f"filter on languages: {rule}") from error
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)

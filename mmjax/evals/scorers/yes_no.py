"""Yes or no from free text: POPE's official parser, a strict one, and MME's."""

from collections.abc import Callable


def pope(text: str) -> str:
    """As POPE's evaluate.py reads an answer: "no" or "yes", never anything else.

    "no" if the words No, no or not stand before the first full stop. All else is "yes":
    an empty answer, "NO", "Nope" and "There is none" as well.
    """
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if not {"No", "no", "not"}.isdisjoint(words) else "yes"


def strict(text: str) -> str:
    """As lmms-eval: the whole answer is "yes" or "no"; "" is neither."""
    plain = text.lower().strip()
    return plain if plain in ("yes", "no") else ""


def first_word(text: str) -> str:
    """Whether the answer's first word is yes or no in any writing; "" if neither."""
    words = text.strip().split()
    plain = words[0].strip(".,!;:'\"()").lower() if words else ""
    return plain if plain in ("yes", "no") else ""


def mme(text: str) -> str:
    """As MME's scorer: yes or no among the first four letters; "" is neither."""
    plain = text.lower().strip().replace(".", "")
    if plain in ("y", "n"):
        return {"y": "yes", "n": "no"}[plain]
    return next((word for word in ("yes", "no") if word in plain[:4]), "")


PARSERS: dict[str, Callable[[str], str]] = {
    "pope": pope,
    "strict": strict,
    "first_word": first_word,
    "mme": mme,
}

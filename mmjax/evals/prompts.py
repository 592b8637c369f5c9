"""Prompts of the tasks as data, and their filling in with an example.

A template names `{images}`, `{question}`, `{hint}` and `{options}`. It is split where
the images stand, so that the program that runs the model gets texts and images in
order.
"""

import collections
import re
from typing import NamedTuple

from mmjax.evals.example import Example

LETTER = "Answer with the option's letter from the given choices directly."
SHORT = "Answer the question using a single word or phrase."
_PLACE = re.compile(r"<image (\d+)>")
_MARK = "\0"  # where an image stands


class Image(NamedTuple):
    """An image of a prompt: its path, or the content of its file."""

    content: str | bytes


class Prompt(NamedTuple):
    """How examples of a task are put to a model."""

    template: str
    between: str = "\n"  # after each solved example
    letters: bool = False  # answers are letters of options


def fill(prompt: Prompt, example: Example) -> list[str | Image]:
    """Texts and images in order; `<image n>` in a question places image n (MMMU)."""
    numbers = example.facts.get("image_numbers", ())
    text = prompt.template.format(
        images=_MARK * len(example.images),
        question=example.question,
        hint=f"{example.hint}\n" if example.hint else "",
        options=_options(example),
    )
    images = list(example.images)
    if numbers and _PLACE.search(text):
        named = dict(zip(numbers, example.images))
        order = [int(number) for number in _PLACE.findall(text)]
        images = [named[number] for number in order if number in named]
        text = _PLACE.sub(
            lambda found: _MARK if int(found[1]) in named else "",
            text.replace(_MARK, ""),
        )
    return _woven(text.strip(), images)


def solved(prompt: Prompt, example: Example, answer: str) -> list[str | Image]:
    """The prompt with an answer, as an example in front of a question.

    Of an example with contexts, with that of the right choice.
    """
    if example.contexts and example.answer is not None:
        example = example._replace(question=example.contexts[example.answer])
    return [*fill(prompt, example), f" {answer}{prompt.between}"]


def answer(prompt: Prompt, example: Example) -> str:
    """The answer that a solved example shows.

    A letter, the right choice, or the reference that most people gave (the first one
    where none is given twice). ValueError where the answer is kept secret.
    """
    if example.answer is not None:
        letter = chr(ord("A") + example.answer)
        return letter if prompt.letters else example.choices[example.answer]
    if "box" in example.facts:
        return "[" + ", ".join(f"{side:.3f}" for side in example.facts["box"]) + "]"
    if "shown" in example.facts:
        return example.facts["shown"]
    if not example.references:
        raise ValueError(f"example {example.id} has no known answer to be shown")
    return collections.Counter(example.references).most_common(1)[0][0].strip()


def _options(example: Example) -> str:
    """`A. first` and so on, a line each."""
    lines = (f"{chr(ord('A') + i)}. {o}" for i, o in enumerate(example.choices))
    return "\n".join(lines)


def _woven(text: str, images: list[str | bytes]) -> list[str | Image]:
    """Texts with the images where their marks stand; empty texts are left out."""
    parts: list[str | Image] = []
    for i, piece in enumerate(text.split(_MARK)):
        if i:
            parts.append(Image(images[i - 1]))
        if piece:
            parts.append(piece)
    return parts

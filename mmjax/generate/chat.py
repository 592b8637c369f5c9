"""A talk in the terminal: what you type goes on from all that was said before."""

import re
import sys
from collections.abc import Iterable
from typing import NamedTuple, TextIO

from data_pipelines.records import Segment, Text
from mmjax import answering, prompt_parts
from mmjax.answering import Answer, Answerer, Request

HELP = (
    'A word @cat.jpg (or @"my cat.jpg") is an image; /new forgets all that was said, '
    "/quit ends."
)
_IMAGE = re.compile(r'(?:^|(?<=\s))@(?:"([^"]+)"|(\S+))')


class Manner(NamedTuple):
    """How a talk goes."""

    template: str = prompt_parts.SLOT  # of what is typed
    between: str = "\n"  # after each answer
    wanted: Request = Request(())  # of each answer


def check(manner: Manner) -> None:
    """Raises ValueError for a template that a text can't be put into."""
    if manner.template.count(prompt_parts.SLOT) != 1:
        raise ValueError(
            f"--template={manner.template}: must hold {prompt_parts.SLOT} once"
        )


def talk(
    answerer: Answerer, manner: Manner, lines: Iterable[str], out: TextIO = sys.stdout
) -> None:
    """Answers each line that is typed, word by word; at its end, the talk's."""
    turns: list[tuple[Segment, ...]] = []

    def write(text: str, end: str = "") -> None:
        print(text, end=end, file=out, flush=True)

    write(HELP, "\n")
    write("> ")
    for line in lines:
        if line.strip() == "/quit":
            return
        if line.strip() == "/new":
            turns = []
        elif line.strip():
            try:
                turns = _turn(answerer, manner, turns, line.rstrip("\n"), write)
            except ValueError as error:  # what was typed can't be answered
                write(f"error: {error}", "\n")
        write("> ")
    write("", "\n")


def _turn(answerer, manner: Manner, turns, line: str, write) -> list:
    """One answer, told while it is said: the turns with what was typed and said."""
    turns = [*turns, typed(line, manner.template)]
    turns, forgotten = fitting(answerer, turns, manner.wanted)
    if forgotten:
        write(f"(no room: the first {forgotten} turns are forgotten)", "\n")
    request = manner.wanted._replace(parts=tuple(s for turn in turns for s in turn))
    told = ""

    def watch(answers: list[Answer]) -> None:
        nonlocal told
        text = answering.settled(answers[0], request.stop)
        write(text[len(told) :])
        told = text

    found = answering.answer(answerer, [request], watch)[0]
    write(found.text[len(told) :], "\n")
    return [*turns[:-1], (*turns[-1], Text(found.text), Text(manner.between))]


def typed(line: str, template: str) -> tuple[Segment, ...]:
    """The texts and images of a line; ValueError for an image that can't be read."""
    segments: list[Segment] = []
    start = 0
    for match in _IMAGE.finditer(line):
        segments.append(Text(line[start : match.start()].strip()))
        segments.append(answering.image(match[1] or match[2]))
        start = match.end()
    segments.append(Text(line[start:].strip()))
    return prompt_parts.filled(template, segments)


def fitting(
    answerer: Answerer, turns: list[tuple[Segment, ...]], wanted: Request
) -> tuple[list[tuple[Segment, ...]], int]:
    """The last turns that leave room for an answer, and how many were left out.

    ValueError where the last one alone has no room.
    """
    for first in range(len(turns)):
        prompt = tuple(segment for turn in turns[first:] for segment in turn)
        try:
            request = wanted._replace(parts=prompt)
            answering.check(answerer.config, answerer.tokenizer, request)
            return turns[first:], first
        except ValueError:
            if first == len(turns) - 1:
                raise
    return turns, 0

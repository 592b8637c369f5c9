"""Judges for tests: what a chat server says of a question to a judge."""

import json
import re
from typing import NamedTuple

from chat_server import Act

_ASKED = re.compile(
    r"The question: (.*)\nThe accepted answers: (.*)\nThe answer that was given: (.*)\n"
)


class Asked(NamedTuple):
    """What a judge is told."""

    question: str
    references: list[str]
    answer: str


def told(prompt: str) -> Asked:
    found = _ASKED.search(prompt)
    assert found, prompt
    question, answer = json.loads(found[1]), json.loads(found[3])
    return Asked(question, json.loads(f"[{found[2]}]"), answer)


def exact(prompt: str, number: int) -> Act:
    """Yes to an answer that is one of the references, letter by letter."""
    del number
    asked = told(prompt)
    return Act(says="Yes." if asked.answer in asked.references else "no")

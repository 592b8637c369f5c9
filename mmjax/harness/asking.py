"""What evaluation libraries ask for, as requests of our own."""

import itertools
from collections.abc import Sequence
from typing import Any

from data_pipelines.records import Image, Text
from mmjax import answering
from mmjax.answering import Answerer, Request

NEW_TOKENS = 256  # where a task doesn't say how many

Parts = tuple[Image | Text, ...]


def scored(
    answerer: Answerer, pairs: Sequence[tuple[Parts, str]], batch: int
) -> list[tuple[float, bool]]:
    """(log-likelihood in nats, is it said greedily) of each (prompt, continuation).

    A prompt is read once for all of its continuations that follow each other.
    """
    asked = [
        Request(prompt, continuations=tuple(text for _, text in group))
        for prompt, group in itertools.groupby(pairs, lambda pair: pair[0])
    ]
    return [
        (score.total, score.greedy)
        for answer in _answered(answerer, asked, batch)
        for score in answer.scores
    ]


def said(answerer: Answerer, requests: Sequence[Request], batch: int) -> list[str]:
    """The texts that follow prompts."""
    return [answer.text for answer in _answered(answerer, requests, batch)]


def request(prompt: Parts, how: dict[str, Any]) -> Request:
    """A prompt to be gone on with, and `how` in the libraries' own words."""
    until = how.get("until") or []
    until = [until] if isinstance(until, str) else until
    drawn = how.get("do_sample", (how.get("temperature") or 0.0) > 0)
    most = how.get("max_gen_toks") or how.get("max_new_tokens") or NEW_TOKENS
    top_p = how.get("top_p")
    return Request(
        prompt,
        int(most),
        float(how.get("temperature") or 1.0) if drawn else 0.0,
        top_p=1.0 if top_p is None else float(top_p),
        stop=tuple(text for text in until if text),
    )


def words(text: str) -> Parts:
    """A text as parts of a prompt; none for an empty one."""
    return (Text(text),) if text else ()


def split(prompt: str, text: str) -> tuple[str, str]:
    """Blanks at the end of a prompt belong to what follows it."""
    bare = prompt.rstrip()
    return bare, prompt[len(bare) :] + text


def _answered(
    answerer: Answerer, requests: Sequence[Request], batch: int
) -> list[answering.Answer]:
    return [
        answer
        for start in range(0, len(requests), batch)
        for answer in answering.answer(answerer, requests[start : start + batch])
    ]

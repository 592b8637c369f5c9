"""A model for lm-evaluation-harness: texts alone."""

from typing import Any

from mmjax.answering import Answerer
from mmjax.harness import asking


def model(answerer: Answerer, batch: int = 16) -> Any:
    """The answerer as an `lm_eval.api.model.LM`; ImportError without the library.

    A prompt and what is to follow it are tokenized each on its own, as mmjax's tasks
    do; what doesn't fit a row is a ValueError.
    """
    from lm_eval.api.model import LM

    class Model(LM):
        """Answers the three kinds of requests in batches."""

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return asking.scored(answerer, [_pair(*r.args) for r in requests], batch)

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            pairs = [((), request.args[0]) for request in requests]
            return [total for total, _ in asking.scored(answerer, pairs, batch)]

        def generate_until(self, requests: list[Any]) -> list[str]:
            asked = [
                asking.request(asking.words(prompt), how)
                for prompt, how in (request.args for request in requests)
            ]
            return asking.said(answerer, asked, batch)

    return Model()


def _pair(prompt: str, text: str) -> tuple[asking.Parts, str]:
    bare, text = asking.split(prompt, text)
    return asking.words(bare), text
